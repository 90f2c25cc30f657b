// SPDX-License-Identifier: GPL-2.0-only
/* The framebuffer region as it is read and written. */
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vfbdemo.h"

#define OFFSET(member)	offsetof(struct vfb_page, member)

void vfb_region_init(struct vfb_device *vfb)
{
	struct vfio_fb_header *header = &vfb->page.header;
	u32 i;

	BUILD_BUG_ON(sizeof(struct vfio_fb_header) != VFIO_FB_HEADER_LEN);
	header->magic = cpu_to_le32(VFIO_FB_MAGIC);
	header->major = cpu_to_le16(VFIO_FB_MAJOR);
	header->minor = cpu_to_le16(VFIO_FB_MINOR);
	header->header_len = cpu_to_le32(VFIO_FB_HEADER_LEN);
	header->features = cpu_to_le32(VFIO_FB_CAPTURE | VFIO_FB_DAMAGE | VFIO_FB_WAKE);
	header->planes_offset = cpu_to_le32(OFFSET(planes));
	header->plane_count = cpu_to_le16(VFB_PLANES);
	header->plane_len = cpu_to_le16(sizeof(struct vfio_fb_plane));
	header->slots_offset = cpu_to_le32(OFFSET(slots));
	header->slot_count = cpu_to_le16(VFB_SLOTS);
	header->slot_len = cpu_to_le16(sizeof(struct vfio_fb_slot));
	header->damage_offset = cpu_to_le32(OFFSET(damage));
	header->damage_count = cpu_to_le16(VFB_DAMAGE);
	header->damage_len = cpu_to_le16(sizeof(struct vfio_fb_damage));
	header->wake_index = cpu_to_le32(VFB_IRQ);

	vfb->page.planes[VFB_PRIMARY].type = cpu_to_le32(VFIO_FB_PLANE_PRIMARY);
	vfb->page.planes[VFB_CURSOR].type = cpu_to_le32(VFIO_FB_PLANE_CURSOR);
	for (i = 0; i < VFB_SLOTS; i++) {
		vfb->page.slots[i].offset =
			cpu_to_le64(VFIO_FB_PAGE_LEN + i * vfb->plane_size);
		vfb->page.slots[i].len = cpu_to_le64(vfb->plane_size);
	}
}

/*
 * Reads up to a page of registers in one state, zeros behind them. By a copy:
 * a user buffer may take for ever, and the lock would be held meanwhile.
 */
ssize_t vfb_state_read(struct vfb_device *vfb, const void *state, size_t size,
		       char __user *buf, size_t count, u64 at)
{
	ssize_t done = count;
	u8 *copy;

	if (WARN_ON_ONCE(count > PAGE_SIZE))
		return -EINVAL;
	copy = kzalloc(count, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	if (at < size) {
		mutex_lock(&vfb->lock);
		memcpy(copy, state + at, min_t(size_t, count, size - at));
		mutex_unlock(&vfb->lock);
	}
	if (copy_to_user(buf, copy, count))
		done = -EFAULT;
	kfree(copy);
	return done;
}

/* Reads memory that others write meanwhile; short where it is stopped. */
ssize_t vfb_memory_read(const u8 *memory, char __user *buf, size_t count)
{
	size_t done = 0;

	while (done < count && !fatal_signal_pending(current)) {
		size_t len = min_t(size_t, count - done, VFB_CHUNK);

		if (copy_to_user(buf + done, memory + done, len))
			return done ? done : -EFAULT;
		done += len;
		cond_resched();
	}
	return done ? done : -EINTR;
}

/* A read that begins in the page ends with it. */
ssize_t vfb_region_read(struct vfb_device *vfb, char __user *buf, size_t count, u64 at)
{
	if (at >= VFIO_FB_PAGE_LEN)
		return vfb_memory_read(vfb->slots_memory + at - VFIO_FB_PAGE_LEN, buf, count);
	return vfb_state_read(vfb, &vfb->page, sizeof(vfb->page), buf,
			      min_t(size_t, count, VFIO_FB_PAGE_LEN - at), at);
}

ssize_t vfb_region_write(struct vfb_device *vfb, const char __user *buf, size_t count, u64 at)
{
	__le64 command;
	__le32 demand;

	if (at == OFFSET(header.command) && count == sizeof(command)) {
		if (copy_from_user(&command, buf, sizeof(command)))
			return -EFAULT;
		vfb_command(vfb, le64_to_cpu(command));
	} else if (at == OFFSET(header.demand) && count == sizeof(demand)) {
		if (copy_from_user(&demand, buf, sizeof(demand)))
			return -EFAULT;
		vfb_set_demand(vfb, le32_to_cpu(demand));
	} else {
		return -EINVAL;
	}
	return count;
}
