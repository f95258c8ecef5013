/* The kernel table for plain C vectors of 16 bytes, for any CPU; single precision. */
#define CB_BITS 32
#define CB_PORTABLE
#define KERNEL_NAME "portable"
#define KERNEL_TABLE cb_kernels_portable_f32
#include "kernel_body.h"
