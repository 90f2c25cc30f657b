/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The framebuffer region of a VFIO device, version 1.0.
 *
 * docs/framebuffer-region.md is the specification; this header is its numbers.
 * All fields are little-endian. In a kernel, include <linux/types.h> first.
 */
#ifndef VFIO_FB_REGION_H
#define VFIO_FB_REGION_H

#ifndef __KERNEL__
#include <linux/types.h>
#endif

/* VFIO_REGION_INFO_CAP_TYPE: type VFIO_REGION_TYPE_GFX, and this subtype. */
#define VFIO_FB_REGION_SUBTYPE		0x76666201

/* The PCI capability that names the region, for transports without types. */
#define VFIO_FB_PCI_CAP_ID		0x09
#define VFIO_FB_PCI_CAP_VERSION		1

struct vfio_fb_pci_cap {
	__u8	id;
	__u8	next;
	__u8	length;
	__u8	version;
	__le32	signature;		/* VFIO_FB_MAGIC */
	__le32	region;
	__le32	reserved;
};

#define VFIO_FB_MAGIC			0x52424656	/* "VFBR" */
#define VFIO_FB_MAJOR			1
#define VFIO_FB_MINOR			0

/* Bytes of the page, which can't be mapped; memory follows it. */
#define VFIO_FB_PAGE_LEN		4096
#define VFIO_FB_HEADER_LEN		0x100

#define VFIO_FB_MAX_PLANES		8
#define VFIO_FB_MIN_SLOTS		2
#define VFIO_FB_MAX_SLOTS		8
#define VFIO_FB_MIN_DAMAGE		16
#define VFIO_FB_MAX_SIDE		16384

/* features */
#define VFIO_FB_CAPTURE			(1 << 0)
#define VFIO_FB_DAMAGE			(1 << 1)
#define VFIO_FB_WAKE			(1 << 2)

struct vfio_fb_header {
	/* identity: never changes */
	__le32	magic;
	__le16	major;
	__le16	minor;
	__le32	header_len;
	__le32	features;
	__le32	planes_offset;
	__le16	plane_count;
	__le16	plane_len;
	__le32	slots_offset;
	__le16	slot_count;
	__le16	slot_len;
	__le32	damage_offset;
	__le16	damage_count;
	__le16	damage_len;
	__le32	wake_index;
	__le32	reserved_2c[5];
	/* state */
	__le64	sequence;
	__le64	generation;
	__le64	frame;
	__le64	damage_floor;
	__le64	damage_head;
	__le32	refused_request;
	__le32	refused_status;
	__le64	reserved_70[2];
	/* written by the consumer */
	__le64	command;
	__le32	demand;
	__le32	reserved_8c[29];
};

/* vfio_fb_plane.flags */
#define VFIO_FB_PLANE_VISIBLE		(1 << 0)
#define VFIO_FB_PLANE_LIVE		(1 << 1)
#define VFIO_FB_PLANE_HOTSPOT		(1 << 2)

/* vfio_fb_plane.type, as enum drm_plane_type */
#define VFIO_FB_PLANE_OVERLAY		0
#define VFIO_FB_PLANE_PRIMARY		1
#define VFIO_FB_PLANE_CURSOR		2

struct vfio_fb_plane {
	__le32	type;
	__le32	flags;
	__le32	fourcc;
	__le32	width;
	__le32	height;
	__le32	stride;
	__le64	modifier;
	__le64	offset;
	__le64	len;
	__le32	region;
	__le32	reserved_34;
	__le32	x;			/* signed */
	__le32	y;			/* signed */
	__le32	hot_x;
	__le32	hot_y;
	__le64	frame;
};

struct vfio_fb_slot {
	__le64	offset;
	__le64	len;
	__le32	request;
	__le32	status;
	__le64	frame;
	__le64	generation;
	__le32	plane;
	__le32	fourcc;
	__le32	width;
	__le32	height;
	__le32	stride;
	__le32	reserved_3c;
	__le64	modifier;
	__le64	reserved_48;
};

struct vfio_fb_damage {
	__le64	frame;
	__le32	plane;
	__le32	x;
	__le32	y;
	__le32	width;
	__le32	height;
	__le32	reserved_1c;
};

/* command */
#define VFIO_FB_OP_CAPTURE		1
#define VFIO_FB_OP_CANCEL		2

#define VFIO_FB_COMMAND_REQUEST(c)	((__u32)(c))
#define VFIO_FB_COMMAND_OP(c)		((__u8)((c) >> 32))
#define VFIO_FB_COMMAND_PLANE(c)	((__u8)((c) >> 40))
#define VFIO_FB_COMMAND_SLOT(c)		((__u8)((c) >> 48))
#define VFIO_FB_COMMAND_RESERVED(c)	((__u8)((c) >> 56))

/* vfio_fb_slot.status and vfio_fb_header.refused_status */
#define VFIO_FB_FREE			0
#define VFIO_FB_PENDING			1
#define VFIO_FB_DONE			2
#define VFIO_FB_CANCELLED		16
#define VFIO_FB_HIDDEN			17
#define VFIO_FB_NO_ROOM			18
#define VFIO_FB_FAILED			19
#define VFIO_FB_BAD_PLANE		20
#define VFIO_FB_BUSY			21
#define VFIO_FB_BAD_SLOT		22
#define VFIO_FB_BAD_OP			23
#define VFIO_FB_BAD_REQUEST		24

#endif /* VFIO_FB_REGION_H */
