/* The kernel table for NEON, 64-bit ARM; double precision. */
#if defined(__aarch64__)
#define CB_BITS 64
#define CB_NEON
#define KERNEL_NAME "neon"
#define KERNEL_TABLE cb_kernels_neon_f64
#include "kernel_body.h"
#else
typedef int cb_not_for_this_compiler;
#endif
