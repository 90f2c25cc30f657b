// SPDX-License-Identifier: GPL-2.0-only
/* The one interrupt there is: an eventfd that wakes the consumer. */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "vfbdemo.h"

int vfb_irq_info(struct vfb_device *vfb, void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFB_NUM_IRQS)
		return -EINVAL;
	info.flags = info.index == VFB_IRQ ? VFIO_IRQ_INFO_EVENTFD : 0;
	info.count = info.index == VFB_IRQ ? 1 : 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* Wakes the consumer, if it wants to be. */
void vfb_signal(struct vfb_device *vfb)
{
	lockdep_assert_held(&vfb->lock);
	if (!vfb->wake)
		return;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(vfb->wake);
#else
	eventfd_signal(vfb->wake, 1);
#endif
	vfb_count(vfb, VFB_REG_WAKES);
}

static void replace_wake(struct vfb_device *vfb, struct eventfd_ctx *wake)
{
	mutex_lock(&vfb->lock);
	swap(vfb->wake, wake);
	mutex_unlock(&vfb->lock);
	if (wake)
		eventfd_ctx_put(wake);
}

void vfb_drop_wake(struct vfb_device *vfb)
{
	replace_wake(vfb, NULL);
}

static int set_eventfd(struct vfb_device *vfb, s32 fd)
{
	struct eventfd_ctx *wake = NULL;

	if (fd < -1)
		return -EINVAL;
	if (fd >= 0)
		wake = eventfd_ctx_fdget(fd);
	if (IS_ERR(wake))
		return PTR_ERR(wake);
	replace_wake(vfb, wake);
	return 0;
}

static void signal_once(struct vfb_device *vfb)
{
	mutex_lock(&vfb->lock);
	vfb_signal(vfb);
	mutex_unlock(&vfb->lock);
}

int vfb_set_irqs(struct vfb_device *vfb, void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set set;
	size_t size = 0;
	s32 fd = -1;
	u8 on = 0;
	int ret;

	if (copy_from_user(&set, arg, minsz))
		return -EFAULT;
	ret = vfio_set_irqs_validate_and_prepare(&set, set.index == VFB_IRQ ? 1 : 0,
						 VFB_NUM_IRQS, &size);
	if (ret)
		return ret;
	/* It can't be masked. */
	if ((set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -EINVAL;

	switch (set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		if (set.count)
			signal_once(vfb);
		else
			vfb_drop_wake(vfb);
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		if (size != sizeof(on))
			return -EINVAL;
		if (copy_from_user(&on, arg + minsz, sizeof(on)))
			return -EFAULT;
		if (on)
			signal_once(vfb);
		return 0;
	case VFIO_IRQ_SET_DATA_EVENTFD:
		if (size != sizeof(fd))
			return -EINVAL;
		if (copy_from_user(&fd, arg + minsz, sizeof(fd)))
			return -EFAULT;
		return set_eventfd(vfb, fd);
	default:
		return -EINVAL;
	}
}
