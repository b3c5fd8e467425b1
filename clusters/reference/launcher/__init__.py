"""virt-launcher: pins and starts the guest of one VMI inside its own container."""
