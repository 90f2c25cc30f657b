// SPDX-License-Identifier: GPL-2.0-only
/* The guest's side: BAR 2. */
#include <drm/drm_fourcc.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include "vfbdemo.h"

static u32 reg(const struct vfb_device *vfb, u32 at)
{
	return le32_to_cpu(vfb->regs[at / 4]);
}

static void set(struct vfb_device *vfb, u32 at, u32 value)
{
	lockdep_assert_held(&vfb->lock);
	vfb->regs[at / 4] = cpu_to_le32(value);
}

/* Bytes of a pixel; 0 for a format that is not known. */
static u32 bytes_per_pixel(u32 fourcc)
{
	switch (fourcc) {
	case DRM_FORMAT_XRGB8888:
	case DRM_FORMAT_ARGB8888:
	case DRM_FORMAT_XBGR8888:
	case DRM_FORMAT_XRGB2101010:
		return 4;
	case DRM_FORMAT_RGB565:
		return 2;
	default:
		return 0;
	}
}

/* What the registers say; a mode that makes no sense is a screen that is off. */
static struct vfb_mode primary_mode(const struct vfb_device *vfb)
{
	struct vfb_mode mode = {
		.fourcc = reg(vfb, VFB_REG_FOURCC),
		.width = reg(vfb, VFB_REG_WIDTH),
		.height = reg(vfb, VFB_REG_HEIGHT),
		.stride = reg(vfb, VFB_REG_STRIDE),
		.offset = reg(vfb, VFB_REG_OFFSET),
	};
	u64 row, len;

	mode.cpp = bytes_per_pixel(mode.fourcc);
	row = (u64)mode.width * mode.cpp;
	len = (u64)mode.stride * mode.height;
	mode.visible = (reg(vfb, VFB_REG_ENABLE) & VFB_ENABLE_PRIMARY) && mode.cpp &&
		       mode.width && mode.width <= VFIO_FB_MAX_SIDE &&
		       mode.height && mode.height <= VFIO_FB_MAX_SIDE &&
		       mode.stride >= row && mode.offset + len <= vfb->picture_size &&
		       row * mode.height <= vfb->plane_size;
	if (!mode.visible)
		memset(&mode, 0, sizeof(mode));
	return mode;
}

static struct vfb_mode cursor_mode(const struct vfb_device *vfb)
{
	struct vfb_mode mode = {
		.fourcc = DRM_FORMAT_ARGB8888,
		.cpp = 4,
		.width = reg(vfb, VFB_REG_CURSOR_WIDTH),
		.height = reg(vfb, VFB_REG_CURSOR_HEIGHT),
		.offset = vfb->picture_size,
		.x = (s32)reg(vfb, VFB_REG_CURSOR_X),
		.y = (s32)reg(vfb, VFB_REG_CURSOR_Y),
		.hot_x = reg(vfb, VFB_REG_CURSOR_HOT_X),
		.hot_y = reg(vfb, VFB_REG_CURSOR_HOT_Y),
	};

	mode.stride = mode.width * mode.cpp;
	mode.visible = (reg(vfb, VFB_REG_ENABLE) & VFB_ENABLE_CURSOR) &&
		       mode.width && mode.width <= VFB_CURSOR_SIDE &&
		       mode.height && mode.height <= VFB_CURSOR_SIDE &&
		       mode.hot_x < mode.width && mode.hot_y < mode.height;
	if (!mode.visible)
		memset(&mode, 0, sizeof(mode));
	return mode;
}

static bool contains(const struct vfb_rect *a, const struct vfb_rect *b)
{
	return a->x <= b->x && b->x + b->width <= a->x + a->width &&
	       a->y <= b->y && b->y + b->height <= a->y + a->height;
}

static void unite(struct vfb_rect *a, const struct vfb_rect *b)
{
	u32 right = max(a->x + a->width, b->x + b->width);
	u32 bottom = max(a->y + a->height, b->y + b->height);

	a->x = min(a->x, b->x);
	a->y = min(a->y, b->y);
	a->width = right - a->x;
	a->height = bottom - a->y;
}

static void add_rect(struct vfb_pending *pending, const struct vfb_rect *rect)
{
	u32 i;

	for (i = 0; i < pending->count; i++)
		if (contains(&pending->rects[i], rect))
			return;
	if (pending->count < VFB_RECTS) {
		pending->rects[pending->count++] = *rect;
		return;
	}
	for (i = 1; i < pending->count; i++)
		unite(&pending->rects[0], &pending->rects[i]);
	unite(&pending->rects[0], rect);
	pending->count = 1;
}

/* Each number is cut to the longest side, so that no sum of two wraps. */
static void damage(struct vfb_device *vfb)
{
	struct vfb_rect rect;

	mutex_lock(&vfb->copy);
	mutex_lock(&vfb->lock);
	rect.x = min_t(u32, reg(vfb, VFB_REG_DAMAGE_X), VFIO_FB_MAX_SIDE);
	rect.y = min_t(u32, reg(vfb, VFB_REG_DAMAGE_Y), VFIO_FB_MAX_SIDE);
	rect.width = min_t(u32, reg(vfb, VFB_REG_DAMAGE_WIDTH), VFIO_FB_MAX_SIDE);
	rect.height = min_t(u32, reg(vfb, VFB_REG_DAMAGE_HEIGHT), VFIO_FB_MAX_SIDE);
	mutex_unlock(&vfb->lock);
	if (rect.width && rect.height)
		add_rect(&vfb->pending, &rect);
	mutex_unlock(&vfb->copy);
}

static void latch(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->copy);
	mutex_lock(&vfb->lock);
	vfb->committed[VFB_PRIMARY] = primary_mode(vfb);
	vfb->committed[VFB_CURSOR] = cursor_mode(vfb);
	mutex_unlock(&vfb->lock);
}

static void commit(struct vfb_device *vfb, u32 flags)
{
	struct vfb_pending *pending = &vfb->pending;

	mutex_lock(&vfb->copy);
	WRITE_ONCE(vfb->drawing, false);
	latch(vfb);
	if (flags & VFB_COMMIT_ALL) {
		const struct vfb_mode *mode = &vfb->committed[VFB_PRIMARY];
		struct vfb_rect all = { 0, 0, mode->width, mode->height };

		add_rect(pending, &all);
	}
	if (flags & VFB_COMMIT_CURSOR)
		pending->cursor = true;
	/* A commit of nothing is no frame. */
	pending->any |= pending->count || pending->cursor ||
			memcmp(vfb->committed, vfb->shown, sizeof(vfb->shown));
	if (pending->any && !vfb_demand(vfb))
		WRITE_ONCE(pending->missed, true);
	mutex_lock(&vfb->lock);
	vfb_count(vfb, VFB_REG_COMMITS);
	mutex_unlock(&vfb->lock);
	vfb_frame_due(vfb);
	mutex_unlock(&vfb->copy);
	wake_up_all(&vfb->frame_made);
}

/* Waits for a copy out of BAR 0 that runs. */
static void draw(struct vfb_device *vfb, bool on)
{
	mutex_lock(&vfb->copy);
	WRITE_ONCE(vfb->drawing, on);
	mutex_unlock(&vfb->copy);
}

static void stage(struct vfb_device *vfb, u32 at, u32 value)
{
	mutex_lock(&vfb->lock);
	set(vfb, at, value);
	mutex_unlock(&vfb->lock);
}

int vfb_guest_write(struct vfb_device *vfb, u32 at, u32 value)
{
	switch (at) {
	case VFB_REG_ENABLE ... VFB_REG_OFFSET:
	case VFB_REG_CURSOR_WIDTH ... VFB_REG_CURSOR_HOT_Y:
	case VFB_REG_DAMAGE_X ... VFB_REG_DAMAGE_HEIGHT:
		stage(vfb, at, value);
		return 0;
	case VFB_REG_DELAY:
		stage(vfb, at, min_t(u32, value, VFB_MAX_DELAY));
		return 0;
	case VFB_REG_DAMAGE:
		damage(vfb);
		return 0;
	case VFB_REG_DRAW:
		draw(vfb, value & 1);
		return 0;
	case VFB_REG_COMMIT:
		commit(vfb, value);
		return 0;
	default:
		return -EINVAL;
	}
}

/* A picture to begin with: grey, darker from top to bottom. */
static void paint(struct vfb_device *vfb)
{
	size_t row = (size_t)vfb->type->width * 4;
	u32 y;

	for (y = 0; y < vfb->type->height; y++) {
		memset(vfb->bar0 + y * row, 0xe0 - y * 0xc0 / vfb->type->height, row);
		cond_resched();
	}
	memset(vfb->bar0 + vfb->picture_size, 0, VFB_CURSOR_BYTES);
}

/* The type's mode, no cursor, and a frame of that; what was counted stays. */
void vfb_guest_reset(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->copy);
	mutex_lock(&vfb->lock);
	memset(vfb->regs, 0, VFB_REG_COMMITS);
	set(vfb, VFB_REG_ID, VFB_ID);
	set(vfb, VFB_REG_MEMORY, vfb->picture_size);
	set(vfb, VFB_REG_CURSOR_AT, vfb->picture_size);
	set(vfb, VFB_REG_ENABLE, VFB_ENABLE_PRIMARY);
	set(vfb, VFB_REG_WIDTH, vfb->type->width);
	set(vfb, VFB_REG_HEIGHT, vfb->type->height);
	set(vfb, VFB_REG_STRIDE, vfb->type->width * 4);
	set(vfb, VFB_REG_FOURCC, DRM_FORMAT_XRGB8888);
	mutex_unlock(&vfb->lock);
	paint(vfb);
	WRITE_ONCE(vfb->drawing, false);
	latch(vfb);
	vfb_frame_reset(vfb);
}

/* Nobody holds the device any more: what was drawn last is what there is. */
void vfb_guest_gone(struct vfb_device *vfb)
{
	draw(vfb, false);
}
