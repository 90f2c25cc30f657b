/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BAR 2: what the guest's driver tells the device. BAR 0 is the memory that it
 * draws into.
 *
 * Registers have 32 bits, little-endian; a write is one register. What is
 * staged here counts from the next COMMIT on. A guest writes 1 to DRAW before
 * it touches the memory that is shown, and COMMIT when the picture is whole:
 * the device looks at BAR 0 only between a COMMIT and the next DRAW.
 */
#ifndef VFBDEMO_REGISTERS_H
#define VFBDEMO_REGISTERS_H

#define VFB_REG_ID		0x00	/* reads VFB_ID */
#define VFB_REG_MEMORY		0x04	/* bytes of BAR 0 for the picture; read-only */
#define VFB_REG_CURSOR_AT	0x08	/* where the cursor's pixels start in BAR 0; read-only */

#define VFB_REG_ENABLE		0x10	/* VFB_ENABLE_* */
#define VFB_REG_WIDTH		0x14
#define VFB_REG_HEIGHT		0x18
#define VFB_REG_STRIDE		0x1c	/* bytes from a row to the next */
#define VFB_REG_FOURCC		0x20
#define VFB_REG_OFFSET		0x24	/* of the first pixel in BAR 0 */

#define VFB_REG_CURSOR_WIDTH	0x30	/* 1 to VFB_CURSOR_SIDE; ARGB8888, rows without gaps */
#define VFB_REG_CURSOR_HEIGHT	0x34
#define VFB_REG_CURSOR_X	0x38	/* of its upper left corner, signed */
#define VFB_REG_CURSOR_Y	0x3c
#define VFB_REG_CURSOR_HOT_X	0x40
#define VFB_REG_CURSOR_HOT_Y	0x44

#define VFB_REG_DAMAGE_X	0x50
#define VFB_REG_DAMAGE_Y	0x54
#define VFB_REG_DAMAGE_WIDTH	0x58
#define VFB_REG_DAMAGE_HEIGHT	0x5c
#define VFB_REG_DAMAGE		0x60	/* any write: the rectangle above was drawn */
#define VFB_REG_DRAW		0x64	/* 1: the guest draws from now on */
#define VFB_REG_COMMIT		0x68	/* VFB_COMMIT_*: a frame is whole */

/* How long the copy engine makes a capture wait, to see one that is slow. */
#define VFB_REG_DELAY		0x70	/* milliseconds, at most VFB_MAX_DELAY */

/* What the device has done since it was created; read-only. */
#define VFB_REG_COMMITS		0x80	/* frames that the guest ended */
#define VFB_REG_FRAMES		0x84	/* of them, frames that the device made */
#define VFB_REG_CAPTURES	0x88	/* captures that ended as DONE */
#define VFB_REG_COPIED		0x8c	/* KiB copied for frames and captures */
#define VFB_REG_WAKES		0x90	/* times that the eventfd was signalled */

#define VFB_REG_END		0x94

#define VFB_ID			0x64626676	/* "vfbd" */

#define VFB_ENABLE_PRIMARY	(1 << 0)
#define VFB_ENABLE_CURSOR	(1 << 1)

#define VFB_COMMIT_ALL		(1 << 0)	/* every pixel may have changed */
#define VFB_COMMIT_CURSOR	(1 << 1)	/* the cursor's pixels changed */

#define VFB_CURSOR_SIDE		128
#define VFB_MAX_DELAY		5000

#endif /* VFBDEMO_REGISTERS_H */
