// SPDX-License-Identifier: GPL-2.0-only
/* What a VFIO device fd can be asked. */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>

#include "vfbdemo.h"

static u64 region_size(const struct vfb_device *vfb, u64 index)
{
	switch (index) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		return vfb->bar0_size;
	case VFIO_PCI_BAR2_REGION_INDEX:
		return VFB_BAR2_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return PCI_CFG_SPACE_SIZE;
	case VFB_REGION:
		return VFIO_FB_PAGE_LEN + VFB_SLOTS * vfb->plane_size;
	default:
		return 0;
	}
}

/* The index of the region that all the bytes are in, or an error. */
static int locate(const struct vfb_device *vfb, u64 pos, size_t count, u64 *at)
{
	u64 index = pos >> VFB_REGION_SHIFT;
	u64 size = region_size(vfb, index);

	*at = pos & (BIT_ULL(VFB_REGION_SHIFT) - 1);
	if (*at >= size || count > size - *at)
		return -EINVAL;
	return index;
}

static ssize_t vfb_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *ppos)
{
	struct vfb_device *vfb = to_vfb(vdev);
	ssize_t done = -EINVAL;
	u64 at;

	if (!count)
		return 0;
	switch (locate(vfb, *ppos, count, &at)) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		done = vfb_memory_read(vfb->bar0 + at, buf, count);
		break;
	case VFIO_PCI_BAR2_REGION_INDEX:
		done = vfb_state_read(vfb, vfb->regs, sizeof(vfb->regs), buf, count, at);
		break;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		done = vfb_state_read(vfb, vfb->config, sizeof(vfb->config), buf, count, at);
		break;
	case VFB_REGION:
		done = vfb_region_read(vfb, buf, count, at);
		break;
	}
	if (done > 0)
		*ppos += done;
	return done;
}

static ssize_t write_bar0(struct vfb_device *vfb, const char __user *buf, size_t count, u64 at)
{
	size_t done = 0;

	while (done < count && !fatal_signal_pending(current)) {
		size_t len = min_t(size_t, count - done, VFB_CHUNK);

		if (copy_from_user(vfb->bar0 + at + done, buf + done, len))
			return done ? done : -EFAULT;
		done += len;
		cond_resched();
	}
	return done ? done : -EINTR;
}

static ssize_t write_bar2(struct vfb_device *vfb, const char __user *buf, size_t count, u64 at)
{
	__le32 value;
	int ret;

	if (count != sizeof(value) || at % sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;
	ret = vfb_guest_write(vfb, at, le32_to_cpu(value));
	return ret ? ret : count;
}

static ssize_t write_config(struct vfb_device *vfb, const char __user *buf, size_t count, u64 at)
{
	u8 data[PCI_CFG_SPACE_SIZE];

	if (copy_from_user(data, buf, count))
		return -EFAULT;
	vfb_config_write(vfb, at, data, count);
	return count;
}

static ssize_t vfb_write(struct vfio_device *vdev, const char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct vfb_device *vfb = to_vfb(vdev);
	ssize_t done = -EINVAL;
	u64 at;

	if (!count)
		return 0;
	switch (locate(vfb, *ppos, count, &at)) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		done = write_bar0(vfb, buf, count, at);
		break;
	case VFIO_PCI_BAR2_REGION_INDEX:
		done = write_bar2(vfb, buf, count, at);
		break;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		done = write_config(vfb, buf, count, at);
		break;
	case VFB_REGION:
		done = vfb_region_write(vfb, buf, count, at);
		break;
	}
	if (done > 0)
		*ppos += done;
	return done;
}

static void forbid_writing(struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_clear(vma, VM_MAYWRITE);
#else
	vma->vm_flags &= ~VM_MAYWRITE;
#endif
}

/* BAR 0 for the guest's driver, the slots for a consumer, who may only read. */
static int vfb_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct vfb_device *vfb = to_vfb(vdev);
	unsigned long len = vma->vm_end - vma->vm_start;
	u64 at;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	switch (locate(vfb, (u64)vma->vm_pgoff << PAGE_SHIFT, len, &at)) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		return remap_vmalloc_range(vma, vfb->bar0, at >> PAGE_SHIFT);
	case VFB_REGION:
		if (at < VFIO_FB_PAGE_LEN)
			return -EINVAL;
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		forbid_writing(vma);
		return remap_vmalloc_range(vma, vfb->slots_memory,
					   (at - VFIO_FB_PAGE_LEN) >> PAGE_SHIFT);
	default:
		return -EINVAL;
	}
}

static int device_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFB_NUM_REGIONS;
	info.num_irqs = VFB_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* Which parts of the framebuffer region can be mapped, and what it is. */
static int region_caps(const struct vfb_device *vfb, struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_type type = {
		.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
		.type = VFIO_REGION_TYPE_GFX,
		.subtype = VFIO_FB_REGION_SUBTYPE,
	};
	struct vfio_region_info_cap_sparse_mmap *sparse;
	size_t size = struct_size(sparse, areas, 1);
	int ret;

	sparse = kzalloc(size, GFP_KERNEL);
	if (!sparse)
		return -ENOMEM;
	sparse->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	sparse->header.version = 1;
	sparse->nr_areas = 1;
	sparse->areas[0].offset = VFIO_FB_PAGE_LEN;
	sparse->areas[0].size = VFB_SLOTS * vfb->plane_size;
	ret = vfio_info_add_capability(caps, &sparse->header, size);
	kfree(sparse);
	return ret ? ret : vfio_info_add_capability(caps, &type.header, sizeof(type));
}

static int region_info(const struct vfb_device *vfb, void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_info_cap caps = {};
	struct vfio_region_info info;
	int ret = 0;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFB_NUM_REGIONS)
		return -EINVAL;
	info.size = region_size(vfb, info.index);
	info.offset = (u64)info.index << VFB_REGION_SHIFT;
	info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	info.cap_offset = 0;
	if (info.index == VFIO_PCI_BAR0_REGION_INDEX || info.index == VFB_REGION)
		info.flags |= VFIO_REGION_INFO_FLAG_MMAP;

	if (info.index == VFB_REGION)
		ret = region_caps(vfb, &caps);
	if (!ret && caps.size) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		if (info.argsz >= sizeof(info) + caps.size) {
			vfio_info_cap_shift(&caps, sizeof(info));
			if (copy_to_user(arg + sizeof(info), caps.buf, caps.size))
				ret = -EFAULT;
			info.cap_offset = sizeof(info);
		}
		info.argsz = sizeof(info) + caps.size;
	}
	kfree(caps.buf);
	if (ret)
		return ret;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/*
 * The plain way: BAR 0, while the guest draws in it. It has room for a plane at
 * the start of a region alone, so a cursor is none, nor is a picture elsewhere.
 */
static int query_plane(struct vfb_device *vfb, void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_device_gfx_plane_info, region_index);
	struct vfio_device_gfx_plane_info asked, info = {};
	struct vfb_mode mode;

	if (copy_from_user(&asked, arg, minsz))
		return -EFAULT;
	if (asked.argsz < minsz)
		return -EINVAL;
	if (asked.flags == (VFIO_GFX_PLANE_TYPE_PROBE | VFIO_GFX_PLANE_TYPE_REGION))
		return 0;
	if (asked.flags != VFIO_GFX_PLANE_TYPE_REGION)
		return -EINVAL;

	mutex_lock(&vfb->lock);
	mode = vfb->committed[VFB_PRIMARY];
	mutex_unlock(&vfb->lock);
	info.argsz = asked.argsz;
	info.flags = asked.flags;
	info.drm_plane_type = asked.drm_plane_type;
	if (asked.drm_plane_type == VFIO_FB_PLANE_PRIMARY && mode.visible && !mode.offset) {
		info.drm_format = mode.fourcc;
		info.width = mode.width;
		info.height = mode.height;
		info.stride = mode.stride;
		info.size = mode.stride * mode.height;
		info.region_index = VFIO_PCI_BAR0_REGION_INDEX;
	}
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* Takes everything back that a consumer has asked for. */
static void forget_consumer(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->copy);
	mutex_lock(&vfb->lock);
	vfb_page_begin(vfb);
	vfb_free_slots(vfb);
	vfb->page.header.demand = 0;
	vfb_page_end(vfb);
	mutex_unlock(&vfb->lock);
}

static int reset(struct vfb_device *vfb)
{
	vfb_stop_captures(vfb);
	mutex_lock(&vfb->copy);
	forget_consumer(vfb);
	vfb_guest_reset(vfb);
	mutex_unlock(&vfb->copy);
	return 0;
}

static long vfb_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct vfb_device *vfb = to_vfb(vdev);
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return device_info(user);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(vfb, user);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return vfb_irq_info(vfb, user);
	case VFIO_DEVICE_SET_IRQS:
		return vfb_set_irqs(vfb, user);
	case VFIO_DEVICE_QUERY_GFX_PLANE:
		return query_plane(vfb, user);
	case VFIO_DEVICE_RESET:
		return reset(vfb);
	default:
		return -ENOTTY;
	}
}

/* The last fd is closed: no one is left to write a command. */
static void vfb_close(struct vfio_device *vdev)
{
	struct vfb_device *vfb = to_vfb(vdev);

	vfb_stop_captures(vfb);
	cancel_delayed_work_sync(&vfb->tick);
	vfb_guest_gone(vfb);
	mutex_lock(&vfb->copy);
	forget_consumer(vfb);
	mutex_unlock(&vfb->copy);
	vfb_drop_wake(vfb);
}

static int vfb_init(struct vfio_device *vdev)
{
	struct vfb_device *vfb = to_vfb(vdev);
	struct mdev_device *mdev = to_mdev_device(vdev->dev);
	u32 i;

	vfb->type = container_of(mdev->type, struct vfb_type, type);
	if (!vfb_take_memory(vfb_type_bytes(vfb->type)))
		return -ENOSPC;
	vfb_type_sizes(vfb->type, &vfb->bar0_size, &vfb->plane_size);
	vfb->picture_size = vfb->bar0_size - VFB_CURSOR_BYTES;
	vfb->bar0 = vmalloc_user(vfb->bar0_size);
	vfb->shadow = vzalloc(vfb->plane_size + VFB_CURSOR_BYTES);
	vfb->slots_memory = vmalloc_user(VFB_SLOTS * vfb->plane_size);
	if (!vfb->bar0 || !vfb->shadow || !vfb->slots_memory) {
		vfree(vfb->bar0);
		vfree(vfb->shadow);
		vfree(vfb->slots_memory);
		vfb_give_memory(vfb_type_bytes(vfb->type));
		return -ENOMEM;
	}

	mutex_init(&vfb->copy);
	mutex_init(&vfb->lock);
	init_waitqueue_head(&vfb->frame_made);
	INIT_DELAYED_WORK(&vfb->tick, vfb_frame_work);
	for (i = 0; i < VFB_SLOTS; i++) {
		vfb->slots[i].vfb = vfb;
		vfb->slots[i].index = i;
		INIT_DELAYED_WORK(&vfb->slots[i].work, vfb_capture_work);
	}
	vfb_config_init(vfb);
	vfb_region_init(vfb);
	mutex_lock(&vfb->copy);
	vfb_guest_reset(vfb);
	mutex_unlock(&vfb->copy);
	return 0;
}

static void vfb_release(struct vfio_device *vdev)
{
	struct vfb_device *vfb = to_vfb(vdev);

	vfree(vfb->slots_memory);
	vfree(vfb->shadow);
	vfree(vfb->bar0);
	mutex_destroy(&vfb->lock);
	mutex_destroy(&vfb->copy);
	vfb_give_memory(vfb_type_bytes(vfb->type));
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
	vfio_free_device(vdev);
#endif
}

const struct vfio_device_ops vfb_ops = {
	.name = "vfbdemo",
	.init = vfb_init,
	.release = vfb_release,
	.close_device = vfb_close,
	.read = vfb_read,
	.write = vfb_write,
	.ioctl = vfb_ioctl,
	.mmap = vfb_mmap,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
#endif
};
