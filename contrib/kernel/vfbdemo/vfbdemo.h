/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vfbdemo: a mediated device with a framebuffer region.
 *
 * Two mutexes a device, taken in this order:
 *
 *   copy   held while pixels are copied, for as long as that takes. Guards the
 *          shadow, the slots' memory, and what is drawn and not shown yet.
 *   lock   held for a few microseconds, never while user memory is touched.
 *          Guards the page, the registers, the config space and the eventfd.
 *
 * So a consumer can read the page while a frame of 33 MB is being copied, and
 * a user buffer that never arrives stops nobody else.
 */
#ifndef VFBDEMO_H
#define VFBDEMO_H

#include <linux/eventfd.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vfio_fb_region.h"
#include "registers.h"

#define VFB_REGION		VFIO_PCI_NUM_REGIONS
#define VFB_NUM_REGIONS		(VFB_REGION + 1)
#define VFB_IRQ			VFIO_PCI_NUM_IRQS
#define VFB_NUM_IRQS		(VFB_IRQ + 1)

/* A region's bytes lie from index << VFB_REGION_SHIFT on in the device's file. */
#define VFB_REGION_SHIFT	40

#define VFB_PRIMARY		0
#define VFB_CURSOR		1
#define VFB_PLANES		2
#define VFB_SLOTS		2
#define VFB_DAMAGE		64

#define VFB_BAR2_SIZE		PAGE_SIZE
#define VFB_CURSOR_BYTES	(VFB_CURSOR_SIDE * VFB_CURSOR_SIDE * 4)

/* Rectangles that a guest can name for one frame; more become one. */
#define VFB_RECTS		16

/* Copied in one go, then looked at whether to stop. */
#define VFB_CHUNK		(64 << 10)

struct vfb_type {
	struct mdev_type type;
	u32 width;
	u32 height;
};

struct vfb_rect {
	u32 x;
	u32 y;
	u32 width;
	u32 height;
};

/* Where a plane is, what it looks like, and how large it is on the screen. */
struct vfb_mode {
	u32 visible;	/* no bool: modes are compared as bytes */
	u32 fourcc;
	u32 cpp;
	u32 width;
	u32 height;
	u32 stride;
	u32 offset;
	s32 x;
	s32 y;
	u32 hot_x;
	u32 hot_y;
};

/* A picture that the guest has ended and nobody has been shown. */
struct vfb_pending {
	bool any;
	bool cursor;
	/* Too much was not looked at to say what changed. */
	bool missed;
	u32 count;
	struct vfb_rect rects[VFB_RECTS];
};

/* The page, as a consumer reads it. */
struct vfb_page {
	struct vfio_fb_header header;
	struct vfio_fb_plane planes[VFB_PLANES];
	struct vfio_fb_slot slots[VFB_SLOTS];
	struct vfio_fb_damage damage[VFB_DAMAGE];
};
static_assert(sizeof(struct vfb_page) <= VFIO_FB_PAGE_LEN);

struct vfb_slot {
	struct vfb_device *vfb;
	u32 index;
	struct delayed_work work;
	/* Asked to stop; set under lock, looked at without it. */
	bool cancel;
	/* What its memory holds, whole; guarded by copy. */
	bool whole;
	u32 plane;
	u64 frame;
	u64 generation;
};

struct vfb_device {
	struct vfio_device vdev;
	const struct vfb_type *type;

	struct mutex copy;
	u8 *bar0;
	u8 *shadow;
	u8 *slots_memory;
	u64 picture_size;	/* of BAR 0, for the picture; the cursor follows */
	u64 bar0_size;
	u64 plane_size;		/* of a picture, in whole pages */
	bool drawing;
	struct vfb_mode committed[VFB_PLANES];	/* written under both */
	struct vfb_mode shown[VFB_PLANES];
	struct vfb_pending pending;
	struct vfb_rect scratch[VFB_DAMAGE];

	struct mutex lock;
	struct vfb_page page;
	u8 config[PCI_CFG_SPACE_SIZE];
	u8 config_mask[PCI_CFG_SPACE_SIZE];
	__le32 regs[VFB_REG_END / 4];
	u64 copied;
	struct eventfd_ctx *wake;

	/* When the next frame may be made, by demand; guarded by copy. */
	u64 due;
	struct delayed_work tick;
	/* Captures that wait for the guest to end its frame. */
	atomic_t waiting;
	wait_queue_head_t frame_made;
	struct vfb_slot slots[VFB_SLOTS];
};

static inline struct vfb_device *to_vfb(struct vfio_device *vdev)
{
	return container_of(vdev, struct vfb_device, vdev);
}

/* main.c */
extern struct workqueue_struct *vfb_workqueue;
void vfb_type_sizes(const struct vfb_type *type, u64 *bar0, u64 *plane);
u64 vfb_type_bytes(const struct vfb_type *type);
bool vfb_take_memory(u64 bytes);
void vfb_give_memory(u64 bytes);

/* device.c */
extern const struct vfio_device_ops vfb_ops;

/* irq.c */
int vfb_irq_info(struct vfb_device *vfb, void __user *arg);
int vfb_set_irqs(struct vfb_device *vfb, void __user *arg);
void vfb_drop_wake(struct vfb_device *vfb);
void vfb_signal(struct vfb_device *vfb);

/* config.c */
void vfb_config_init(struct vfb_device *vfb);
void vfb_config_write(struct vfb_device *vfb, u32 at, const u8 *data, u32 len);

/* guest.c */
void vfb_guest_reset(struct vfb_device *vfb);
void vfb_guest_gone(struct vfb_device *vfb);
int vfb_guest_write(struct vfb_device *vfb, u32 at, u32 value);

/* frame.c */
void vfb_page_begin(struct vfb_device *vfb);
void vfb_page_end(struct vfb_device *vfb);
u32 vfb_demand(struct vfb_device *vfb);
void vfb_count(struct vfb_device *vfb, u32 reg);
void vfb_copied(struct vfb_device *vfb, u64 bytes);
u8 *vfb_shadow(struct vfb_device *vfb, u32 plane);
void vfb_frame_work(struct work_struct *work);
void vfb_frame_reset(struct vfb_device *vfb);
void vfb_frame_due(struct vfb_device *vfb);
void vfb_set_demand(struct vfb_device *vfb, u32 demand);

/* capture.c */
void vfb_capture_work(struct work_struct *work);
void vfb_command(struct vfb_device *vfb, u64 command);
void vfb_stop_captures(struct vfb_device *vfb);
void vfb_free_slots(struct vfb_device *vfb);

/* region.c */
ssize_t vfb_memory_read(const u8 *memory, char __user *buf, size_t count);
void vfb_region_init(struct vfb_device *vfb);
ssize_t vfb_state_read(struct vfb_device *vfb, const void *state, size_t size,
		       char __user *buf, size_t count, u64 at);
ssize_t vfb_region_read(struct vfb_device *vfb, char __user *buf, size_t count, u64 at);
ssize_t vfb_region_write(struct vfb_device *vfb, const char __user *buf, size_t count, u64 at);

#endif /* VFBDEMO_H */
