// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames: what the guest has ended goes from BAR 0 to the shadow, and is told
 * in the page. The shadow is the newest frame in every pixel, whatever the
 * guest draws meanwhile; captures are copies of it.
 */
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "vfbdemo.h"

/* Every change of the page is between these two. */
void vfb_page_begin(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->lock);
	le64_add_cpu(&vfb->page.header.sequence, 1);
}

void vfb_page_end(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->lock);
	le64_add_cpu(&vfb->page.header.sequence, 1);
}

u32 vfb_demand(struct vfb_device *vfb)
{
	u32 demand;

	mutex_lock(&vfb->lock);
	demand = le32_to_cpu(vfb->page.header.demand);
	mutex_unlock(&vfb->lock);
	return demand;
}

void vfb_count(struct vfb_device *vfb, u32 reg)
{
	lockdep_assert_held(&vfb->lock);
	le32_add_cpu(&vfb->regs[reg / 4], 1);
}

void vfb_copied(struct vfb_device *vfb, u64 bytes)
{
	lockdep_assert_held(&vfb->lock);
	vfb->copied += bytes;
	vfb->regs[VFB_REG_COPIED / 4] = cpu_to_le32(vfb->copied >> 10);
}

/* Where the shadow of a plane starts; its rows have no gaps. */
u8 *vfb_shadow(struct vfb_device *vfb, u32 plane)
{
	return vfb->shadow + (plane == VFB_CURSOR ? vfb->plane_size : 0);
}

static u64 copy_rect(struct vfb_device *vfb, u32 plane, const struct vfb_rect *rect)
{
	const struct vfb_mode *mode = &vfb->committed[plane];
	size_t row = (size_t)mode->width * mode->cpp;
	size_t len = (size_t)rect->width * mode->cpp;
	size_t x = (size_t)rect->x * mode->cpp;
	u8 *to = vfb_shadow(vfb, plane) + rect->y * row + x;
	const u8 *from = vfb->bar0 + mode->offset + (size_t)rect->y * mode->stride + x;
	u32 y;

	for (y = 0; y < rect->height; y++) {
		memcpy(to, from, len);
		to += row;
		from += mode->stride;
		cond_resched();
	}
	return (u64)len * rect->height;
}

static bool clip(struct vfb_rect *rect, const struct vfb_mode *mode)
{
	if (rect->x >= mode->width || rect->y >= mode->height)
		return false;
	rect->width = min(rect->width, mode->width - rect->x);
	rect->height = min(rect->height, mode->height - rect->y);
	return rect->width && rect->height;
}

static void add_damage(struct vfb_device *vfb, u64 frame, u32 plane, const struct vfb_rect *rect)
{
	struct vfio_fb_header *header = &vfb->page.header;
	u64 head = le64_to_cpu(header->damage_head);
	struct vfio_fb_damage *record = &vfb->page.damage[head % VFB_DAMAGE];

	/* Of one that was never written the frame is 0. */
	header->damage_floor = cpu_to_le64(max(le64_to_cpu(header->damage_floor),
					       le64_to_cpu(record->frame)));
	record->frame = cpu_to_le64(frame);
	record->plane = cpu_to_le32(plane);
	record->x = cpu_to_le32(rect->x);
	record->y = cpu_to_le32(rect->y);
	record->width = cpu_to_le32(rect->width);
	record->height = cpu_to_le32(rect->height);
	header->damage_head = cpu_to_le64(head + 1);
}

static void describe(struct vfb_device *vfb, u32 index, u64 frame, bool changed)
{
	const struct vfb_mode *mode = &vfb->committed[index];
	struct vfio_fb_plane *plane = &vfb->page.planes[index];
	u32 flags = VFIO_FB_PLANE_VISIBLE | VFIO_FB_PLANE_LIVE;

	if (index == VFB_CURSOR)
		flags |= VFIO_FB_PLANE_HOTSPOT;
	plane->flags = cpu_to_le32(mode->visible ? flags : 0);
	plane->fourcc = cpu_to_le32(mode->fourcc);
	plane->width = cpu_to_le32(mode->width);
	plane->height = cpu_to_le32(mode->height);
	plane->stride = cpu_to_le32(mode->stride);
	plane->offset = cpu_to_le64(mode->offset);
	plane->len = cpu_to_le64((u64)mode->stride * mode->height);
	plane->region = cpu_to_le32(VFIO_PCI_BAR0_REGION_INDEX);
	plane->x = cpu_to_le32(mode->x);
	plane->y = cpu_to_le32(mode->y);
	plane->hot_x = cpu_to_le32(mode->hot_x);
	plane->hot_y = cpu_to_le32(mode->hot_y);
	if (changed)
		plane->frame = cpu_to_le64(frame);
}

static bool same_picture(const struct vfb_mode *a, const struct vfb_mode *b)
{
	return a->visible == b->visible && a->fourcc == b->fourcc &&
	       a->width == b->width && a->height == b->height;
}

/*
 * Makes what the guest has committed the newest frame: all of it where the mode
 * is another one, or where nobody knows what changed.
 */
static void make_frame(struct vfb_device *vfb, bool reset)
{
	const struct vfb_mode *primary = &vfb->committed[VFB_PRIMARY];
	const struct vfb_mode *cursor = &vfb->committed[VFB_CURSOR];
	const struct vfb_mode *cursor_was = &vfb->shown[VFB_CURSOR];
	struct vfb_pending *pending = &vfb->pending;
	bool moded = reset || !same_picture(primary, &vfb->shown[VFB_PRIMARY]);
	bool whole = moded || pending->missed;
	bool cursor_drawn = cursor->visible &&
			    (whole || pending->cursor || !same_picture(cursor, cursor_was));
	bool cursor_changed = cursor_drawn || memcmp(cursor, cursor_was, sizeof(*cursor));
	struct vfb_rect screen = { 0, 0, primary->width, primary->height };
	struct vfb_rect shape = { 0, 0, cursor->width, cursor->height };
	u64 bytes = 0, frame;
	u32 i, count = 0;

	lockdep_assert_held(&vfb->copy);
	if (primary->visible && whole)
		bytes += copy_rect(vfb, VFB_PRIMARY, &screen);
	for (i = 0; i < pending->count && primary->visible && !whole; i++) {
		struct vfb_rect *rect = &pending->rects[i];

		if (!clip(rect, primary))
			continue;
		bytes += copy_rect(vfb, VFB_PRIMARY, rect);
		pending->rects[count++] = *rect;
	}
	if (cursor_drawn)
		bytes += copy_rect(vfb, VFB_CURSOR, &shape);

	mutex_lock(&vfb->lock);
	vfb_page_begin(vfb);
	frame = le64_to_cpu(vfb->page.header.frame) + 1;
	if (moded)
		le64_add_cpu(&vfb->page.header.generation, 1);
	for (i = 0; i < count; i++)
		add_damage(vfb, frame, VFB_PRIMARY, &pending->rects[i]);
	if (cursor_drawn)
		add_damage(vfb, frame, VFB_CURSOR, &shape);
	if (whole)
		vfb->page.header.damage_floor = cpu_to_le64(frame);
	describe(vfb, VFB_PRIMARY, frame, whole || count);
	describe(vfb, VFB_CURSOR, frame, whole || cursor_changed);
	vfb->page.header.frame = cpu_to_le64(frame);
	vfb_page_end(vfb);
	vfb_count(vfb, VFB_REG_FRAMES);
	vfb_copied(vfb, bytes);
	vfb_signal(vfb);
	mutex_unlock(&vfb->lock);

	memcpy(vfb->shown, vfb->committed, sizeof(vfb->shown));
	memset(pending, 0, sizeof(*pending));
	wake_up_all(&vfb->frame_made);
}

/* A frame now, whoever wants it, after which no older one is known. */
void vfb_frame_reset(struct vfb_device *vfb)
{
	make_frame(vfb, true);
}

/* Nanoseconds between two frames of a demand, which is in frames in 1000 s. */
static u64 period(u32 demand)
{
	return div_u64(1000 * (u64)NSEC_PER_SEC, demand);
}

/*
 * Makes the frame that waits, if somebody wants it and the guest does not draw,
 * or sees to it that it is made when demand allows it.
 */
void vfb_frame_due(struct vfb_device *vfb)
{
	u32 demand = vfb_demand(vfb);
	u64 now = ktime_get_ns();

	lockdep_assert_held(&vfb->copy);
	if (!vfb->pending.any || vfb->drawing)
		return;
	if (vfb->pending.missed && atomic_read(&vfb->waiting)) {
		make_frame(vfb, false);
	} else if (demand && now < vfb->due) {
		mod_delayed_work(vfb_workqueue, &vfb->tick,
				 nsecs_to_jiffies(vfb->due - now) + 1);
	} else if (demand) {
		/* From when it was due: a guest that is a little late keeps the pace. */
		vfb->due = max(vfb->due + period(demand), now);
		make_frame(vfb, false);
	}
}

void vfb_frame_work(struct work_struct *work)
{
	struct vfb_device *vfb = container_of(to_delayed_work(work), struct vfb_device, tick);

	mutex_lock(&vfb->copy);
	vfb_frame_due(vfb);
	mutex_unlock(&vfb->copy);
}

void vfb_set_demand(struct vfb_device *vfb, u32 demand)
{
	u32 was;

	mutex_lock(&vfb->copy);
	mutex_lock(&vfb->lock);
	was = le32_to_cpu(vfb->page.header.demand);
	vfb->page.header.demand = cpu_to_le32(demand);
	mutex_unlock(&vfb->lock);
	if (demand && was != demand) {
		vfb->due = was ? min(vfb->due, ktime_get_ns() + period(demand)) : 0;
		vfb_frame_due(vfb);
	}
	mutex_unlock(&vfb->copy);
}
