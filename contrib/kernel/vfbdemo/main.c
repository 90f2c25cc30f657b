// SPDX-License-Identifier: GPL-2.0-only
/* The module: types of devices, and the memory that all of them share. */
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "vfbdemo.h"

static unsigned int max_mbytes = 512;
module_param(max_mbytes, uint, 0444);
MODULE_PARM_DESC(max_mbytes, "megabytes that all devices together may use");

struct workqueue_struct *vfb_workqueue;

static DEFINE_MUTEX(memory_lock);
static u64 memory_used;

static struct vfb_type types[] = {
	{
		.type.sysfs_name = "xga",
		.type.pretty_name = "vfbdemo-xga",
		.width = 1024,
		.height = 768,
	}, {
		.type.sysfs_name = "hd",
		.type.pretty_name = "vfbdemo-hd",
		.width = 1920,
		.height = 1080,
	}, {
		.type.sysfs_name = "4k",
		.type.pretty_name = "vfbdemo-4k",
		.width = 3840,
		.height = 2160,
	},
};

static struct mdev_type *mdev_types[] = {
	&types[0].type,
	&types[1].type,
	&types[2].type,
};

static struct class vfb_class = {
	.name = "vfbdemo",
};
static struct device *parent_device;
static struct mdev_parent parent;

void vfb_type_sizes(const struct vfb_type *type, u64 *bar0, u64 *plane)
{
	*plane = PAGE_ALIGN((u64)type->width * type->height * 4);
	*bar0 = roundup_pow_of_two(*plane + VFB_CURSOR_BYTES);
}

/* BAR 0, the shadow of both planes, and the slots. */
u64 vfb_type_bytes(const struct vfb_type *type)
{
	u64 bar0, plane;

	vfb_type_sizes(type, &bar0, &plane);
	return bar0 + plane + VFB_CURSOR_BYTES + VFB_SLOTS * plane;
}

static u64 memory_free(void)
{
	u64 all = (u64)max_mbytes << 20;

	lockdep_assert_held(&memory_lock);
	return all > memory_used ? all - memory_used : 0;
}

bool vfb_take_memory(u64 bytes)
{
	bool fits;

	mutex_lock(&memory_lock);
	fits = bytes <= memory_free();
	if (fits)
		memory_used += bytes;
	mutex_unlock(&memory_lock);
	return fits;
}

void vfb_give_memory(u64 bytes)
{
	mutex_lock(&memory_lock);
	memory_used -= bytes;
	mutex_unlock(&memory_lock);
}

static unsigned int vfb_get_available(struct mdev_type *mtype)
{
	struct vfb_type *type = container_of(mtype, struct vfb_type, type);
	u64 left;

	mutex_lock(&memory_lock);
	left = memory_free();
	mutex_unlock(&memory_lock);
	return div64_u64(left, vfb_type_bytes(type));
}

static ssize_t vfb_show_description(struct mdev_type *mtype, char *buf)
{
	struct vfb_type *type = container_of(mtype, struct vfb_type, type);

	return sysfs_emit(buf, "framebuffer region, %ux%u, %llu MB\n", type->width,
			  type->height, vfb_type_bytes(type) >> 20);
}

static int vfb_probe(struct mdev_device *mdev)
{
	struct vfb_device *vfb;
	int ret;

	vfb = vfio_alloc_device(vfb_device, vdev, &mdev->dev, &vfb_ops);
	if (IS_ERR(vfb))
		return PTR_ERR(vfb);
	ret = vfio_register_emulated_iommu_dev(&vfb->vdev);
	if (ret) {
		vfio_put_device(&vfb->vdev);
		return ret;
	}
	dev_set_drvdata(&mdev->dev, vfb);
	return 0;
}

static void vfb_remove(struct mdev_device *mdev)
{
	struct vfb_device *vfb = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&vfb->vdev);
	vfio_put_device(&vfb->vdev);
}

static struct mdev_driver driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.driver = {
		.name = "vfbdemo",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
	.probe = vfb_probe,
	.remove = vfb_remove,
	.get_available = vfb_get_available,
	.show_description = vfb_show_description,
};

static int __init vfb_module_init(void)
{
	int ret;

	vfb_workqueue = alloc_workqueue("vfbdemo", WQ_UNBOUND, 0);
	if (!vfb_workqueue)
		return -ENOMEM;
	ret = mdev_register_driver(&driver);
	if (ret)
		goto err_workqueue;
	ret = class_register(&vfb_class);
	if (ret)
		goto err_driver;
	parent_device = device_create(&vfb_class, NULL, 0, NULL, "vfbdemo");
	if (IS_ERR(parent_device)) {
		ret = PTR_ERR(parent_device);
		goto err_class;
	}
	ret = mdev_register_parent(&parent, parent_device, &driver, mdev_types,
				   ARRAY_SIZE(mdev_types));
	if (ret)
		goto err_device;
	return 0;

err_device:
	device_unregister(parent_device);
err_class:
	class_unregister(&vfb_class);
err_driver:
	mdev_unregister_driver(&driver);
err_workqueue:
	destroy_workqueue(vfb_workqueue);
	return ret;
}

static void __exit vfb_module_exit(void)
{
	mdev_unregister_parent(&parent);
	device_unregister(parent_device);
	class_unregister(&vfb_class);
	mdev_unregister_driver(&driver);
	destroy_workqueue(vfb_workqueue);
}

module_init(vfb_module_init);
module_exit(vfb_module_exit);

MODULE_DESCRIPTION("Mediated device with a framebuffer region");
MODULE_LICENSE("GPL");
