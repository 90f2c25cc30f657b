// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! ioctls that open a VFIO device: group and container, or cdev and iommufd.
