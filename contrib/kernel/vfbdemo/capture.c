// SPDX-License-Identifier: GPL-2.0-only
/*
 * Captures: commands, and the copies of the shadow that they ask for.
 *
 * A copy is made by a work of the slot. The write of the command waits for it,
 * unless the guest's side has set a delay: then it is what a slow engine is.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "vfbdemo.h"

/* How long a capture waits for a guest that is drawing to end its frame. */
#define PATIENCE	(HZ / 10)

static bool stopped(struct vfb_slot *slot)
{
	return READ_ONCE(slot->cancel);
}

/*
 * The parts of a slot that are not the newest frame's yet, in vfb->scratch, or
 * -1 for all.
 */
static int stale(struct vfb_slot *slot, u32 plane)
{
	struct vfb_device *vfb = slot->vfb;
	const struct vfio_fb_header *header = &vfb->page.header;
	const struct vfb_mode *mode = &vfb->shown[plane];
	u64 head = le64_to_cpu(header->damage_head);
	u64 k = head - min_t(u64, head, VFB_DAMAGE);
	u64 area = 0;
	int count = 0;

	lockdep_assert_held(&vfb->lock);
	/* A cursor's size is no generation, and its picture is small. */
	if (!slot->whole || plane != VFB_PRIMARY || slot->plane != plane ||
	    slot->generation != le64_to_cpu(header->generation) ||
	    slot->frame < le64_to_cpu(header->damage_floor))
		return -1;
	for (; k < head; k++) {
		const struct vfio_fb_damage *record = &vfb->page.damage[k % VFB_DAMAGE];
		struct vfb_rect *rect = &vfb->scratch[count];

		if (le64_to_cpu(record->frame) <= slot->frame ||
		    le32_to_cpu(record->plane) != plane)
			continue;
		rect->x = le32_to_cpu(record->x);
		rect->y = le32_to_cpu(record->y);
		rect->width = le32_to_cpu(record->width);
		rect->height = le32_to_cpu(record->height);
		area += (u64)rect->width * rect->height;
		count++;
	}
	return area < (u64)mode->width * mode->height ? count : -1;
}

/* Copies the rectangles, or all, unless it is stopped; bytes copied. */
static u64 fill(struct vfb_slot *slot, u32 plane, int count)
{
	struct vfb_device *vfb = slot->vfb;
	const struct vfb_mode *mode = &vfb->shown[plane];
	u8 *to = vfb->slots_memory + slot->index * vfb->plane_size;
	const u8 *from = vfb_shadow(vfb, plane);
	size_t row = (size_t)mode->width * mode->cpp;
	size_t size = row * mode->height;
	u64 bytes = 0;
	size_t at;
	int i;

	for (at = 0; count < 0 && at < size && !stopped(slot); at += VFB_CHUNK) {
		size_t len = min_t(size_t, size - at, VFB_CHUNK);

		memcpy(to + at, from + at, len);
		bytes += len;
		cond_resched();
	}
	for (i = 0; i < count; i++) {
		const struct vfb_rect *rect = &vfb->scratch[i];
		size_t len = (size_t)rect->width * mode->cpp;
		u32 y;

		at = rect->y * row + (size_t)rect->x * mode->cpp;
		for (y = 0; y < rect->height && !stopped(slot); y++, at += row) {
			memcpy(to + at, from + at, len);
			bytes += len;
			cond_resched();
		}
	}
	return bytes;
}

static void capture(struct vfb_slot *slot)
{
	struct vfb_device *vfb = slot->vfb;
	struct vfio_fb_header *header = &vfb->page.header;
	struct vfio_fb_slot *told = &vfb->page.slots[slot->index];
	const struct vfb_mode *mode;
	u32 plane, status;
	u64 bytes = 0;
	int count;

	lockdep_assert_held(&vfb->copy);
	mutex_lock(&vfb->lock);
	/* A reset took it away, or it was done by an earlier run. */
	if (le32_to_cpu(told->status) != VFIO_FB_PENDING) {
		mutex_unlock(&vfb->lock);
		return;
	}
	plane = le32_to_cpu(told->plane);
	mode = &vfb->shown[plane];
	count = stale(slot, plane);
	mutex_unlock(&vfb->lock);

	if (mode->visible) {
		slot->whole = false;
		bytes = fill(slot, plane, count);
	}

	/* The frame can't have changed: that takes the copy mutex. */
	mutex_lock(&vfb->lock);
	vfb_page_begin(vfb);
	if (stopped(slot)) {
		status = VFIO_FB_CANCELLED;
	} else if (!mode->visible) {
		status = VFIO_FB_HIDDEN;
	} else {
		status = VFIO_FB_DONE;
		slot->whole = true;
		slot->plane = plane;
		slot->frame = le64_to_cpu(header->frame);
		slot->generation = le64_to_cpu(header->generation);
		told->frame = header->frame;
		told->generation = header->generation;
		told->fourcc = cpu_to_le32(mode->fourcc);
		told->width = cpu_to_le32(mode->width);
		told->height = cpu_to_le32(mode->height);
		told->stride = cpu_to_le32(mode->width * mode->cpp);
		vfb_count(vfb, VFB_REG_CAPTURES);
	}
	told->status = cpu_to_le32(status);
	vfb_page_end(vfb);
	vfb_copied(vfb, bytes);
	vfb_signal(vfb);
	mutex_unlock(&vfb->lock);
}

void vfb_capture_work(struct work_struct *work)
{
	struct vfb_slot *slot = container_of(to_delayed_work(work), struct vfb_slot, work);
	struct vfb_device *vfb = slot->vfb;

	/*
	 * While nobody watched no frame was made. A guest that is drawing now
	 * makes one when it ends this one; after a while the old one has to do.
	 */
	atomic_inc(&vfb->waiting);
	wait_event_timeout(vfb->frame_made,
			   !READ_ONCE(vfb->pending.missed) || !READ_ONCE(vfb->drawing) ||
			   stopped(slot), PATIENCE);
	mutex_lock(&vfb->copy);
	vfb_frame_due(vfb);
	atomic_dec(&vfb->waiting);
	capture(slot);
	mutex_unlock(&vfb->copy);
}

static u32 start(struct vfb_slot *slot, u32 request, u32 plane)
{
	struct vfio_fb_slot *told = &slot->vfb->page.slots[slot->index];

	if (le32_to_cpu(told->status) == VFIO_FB_PENDING)
		return VFIO_FB_BUSY;
	told->request = cpu_to_le32(request);
	told->plane = cpu_to_le32(plane);
	told->status = cpu_to_le32(plane < VFB_PLANES ? VFIO_FB_PENDING : VFIO_FB_BAD_PLANE);
	WRITE_ONCE(slot->cancel, false);
	return VFIO_FB_FREE;
}

static u32 cancel(struct vfb_slot *slot, u32 request)
{
	struct vfio_fb_slot *told = &slot->vfb->page.slots[slot->index];

	if (le32_to_cpu(told->request) != request)
		return VFIO_FB_BAD_REQUEST;
	if (le32_to_cpu(told->status) == VFIO_FB_PENDING)
		WRITE_ONCE(slot->cancel, true);
	return VFIO_FB_FREE;
}

/* The status that refuses a command, or FREE for a command of this slot. */
static u32 check(struct vfb_device *vfb, u64 command, struct vfb_slot **slot)
{
	u32 op = VFIO_FB_COMMAND_OP(command);
	u32 index = VFIO_FB_COMMAND_SLOT(command);

	if (VFIO_FB_COMMAND_RESERVED(command))
		return VFIO_FB_BAD_OP;
	if (op != VFIO_FB_OP_CAPTURE &&
	    (op != VFIO_FB_OP_CANCEL || VFIO_FB_COMMAND_PLANE(command)))
		return VFIO_FB_BAD_OP;
	if (!VFIO_FB_COMMAND_REQUEST(command))
		return VFIO_FB_BAD_REQUEST;
	if (index >= VFB_SLOTS)
		return VFIO_FB_BAD_SLOT;
	*slot = &vfb->slots[index];
	return VFIO_FB_FREE;
}

void vfb_command(struct vfb_device *vfb, u64 command)
{
	u32 request = VFIO_FB_COMMAND_REQUEST(command);
	bool captures = VFIO_FB_COMMAND_OP(command) == VFIO_FB_OP_CAPTURE;
	struct vfb_slot *slot = NULL;
	bool pending = false;
	u32 delay = 0;
	u32 refused;

	mutex_lock(&vfb->lock);
	vfb_page_begin(vfb);
	refused = check(vfb, command, &slot);
	if (!refused && captures)
		refused = start(slot, request, VFIO_FB_COMMAND_PLANE(command));
	else if (!refused)
		refused = cancel(slot, request);
	if (refused) {
		vfb->page.header.refused_request = cpu_to_le32(request);
		vfb->page.header.refused_status = cpu_to_le32(refused);
	} else {
		pending = le32_to_cpu(vfb->page.slots[slot->index].status) == VFIO_FB_PENDING;
		delay = captures ? le32_to_cpu(vfb->regs[VFB_REG_DELAY / 4]) : 0;
	}
	vfb_page_end(vfb);
	/* One that names no plane has ended already. */
	if (!refused && captures && !pending)
		vfb_signal(vfb);
	mutex_unlock(&vfb->lock);
	if (!pending)
		return;

	wake_up_all(&vfb->frame_made);
	mod_delayed_work(vfb_workqueue, &slot->work, msecs_to_jiffies(delay));
	if (!delay)
		flush_delayed_work(&slot->work);
}

/* After it no copy runs, and none that was asked for before will start. */
void vfb_stop_captures(struct vfb_device *vfb)
{
	u32 i;

	mutex_lock(&vfb->lock);
	for (i = 0; i < VFB_SLOTS; i++)
		WRITE_ONCE(vfb->slots[i].cancel, true);
	mutex_unlock(&vfb->lock);
	wake_up_all(&vfb->frame_made);
	for (i = 0; i < VFB_SLOTS; i++)
		cancel_delayed_work_sync(&vfb->slots[i].work);
}

void vfb_free_slots(struct vfb_device *vfb)
{
	u32 i;

	lockdep_assert_held(&vfb->copy);
	lockdep_assert_held(&vfb->lock);
	for (i = 0; i < VFB_SLOTS; i++) {
		vfb->page.slots[i].request = 0;
		vfb->page.slots[i].status = cpu_to_le32(VFIO_FB_FREE);
	}
	vfb->page.header.refused_request = 0;
	vfb->page.header.refused_status = 0;
}
