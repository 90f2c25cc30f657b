// SPDX-License-Identifier: GPL-2.0-only
/* PCI config space: bytes, and which bits of them can be written. */
#include "vfbdemo.h"

#define CAP_AT	0x40

/* No vendor has these numbers; a guest's driver asks for them and for VFB_ID. */
#define VENDOR	0x1234
#define DEVICE	0x7666

static void put(u8 *at, u32 value, u32 len)
{
	for (; len; len--, value >>= 8)
		*at++ = value;
}

static void put_bar(struct vfb_device *vfb, u32 at, u64 size, u32 flags)
{
	put(vfb->config + at, PCI_BASE_ADDRESS_SPACE_MEMORY | flags, 4);
	put(vfb->config_mask + at, ~(u32)(size - 1), 4);
}

void vfb_config_init(struct vfb_device *vfb)
{
	struct vfio_fb_pci_cap cap = {
		.id = VFIO_FB_PCI_CAP_ID,
		.length = sizeof(cap),
		.version = VFIO_FB_PCI_CAP_VERSION,
		.signature = cpu_to_le32(VFIO_FB_MAGIC),
		.region = cpu_to_le32(VFB_REGION),
	};
	u8 *config = vfb->config;

	put(config + PCI_VENDOR_ID, VENDOR, 2);
	put(config + PCI_DEVICE_ID, DEVICE, 2);
	put(config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR, 2);
	put(config + PCI_SUBSYSTEM_ID, DEVICE, 2);
	put(config + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	put(vfb->config_mask + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	put(config + PCI_STATUS, PCI_STATUS_CAP_LIST, 2);
	put(config + PCI_CLASS_DEVICE, PCI_CLASS_DISPLAY_OTHER, 2);
	config[PCI_CAPABILITY_LIST] = CAP_AT;
	memcpy(config + CAP_AT, &cap, sizeof(cap));

	put_bar(vfb, PCI_BASE_ADDRESS_0, vfb->bar0_size, PCI_BASE_ADDRESS_MEM_PREFETCH);
	put_bar(vfb, PCI_BASE_ADDRESS_2, VFB_BAR2_SIZE, 0);
}

/* Bits that can't be written keep what they are; sizing a BAR comes out of that. */
void vfb_config_write(struct vfb_device *vfb, u32 at, const u8 *data, u32 len)
{
	u32 i;

	mutex_lock(&vfb->lock);
	for (i = 0; i < len; i++) {
		u8 mask = vfb->config_mask[at + i];
		u8 *byte = &vfb->config[at + i];

		*byte = (*byte & ~mask) | (data[i] & mask);
	}
	mutex_unlock(&vfb->lock);
}
