/* The kernel table for AVX2 and FMA; single precision. */
#if defined(__AVX2__) && defined(__FMA__)
#define CB_BITS 32
#define CB_AVX2
#define KERNEL_NAME "avx2"
#define KERNEL_TABLE cb_kernels_avx2_f32
#include "kernel_body.h"
#else
typedef int cb_not_for_this_compiler;
#endif
