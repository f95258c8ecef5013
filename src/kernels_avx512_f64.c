/* The kernel table for AVX-512 F, BW, DQ, VL; double precision. */
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define CB_BITS 64
#define CB_AVX512
#define KERNEL_NAME "avx512"
#define KERNEL_TABLE cb_kernels_avx512_f64
#include "kernel_body.h"
#else
typedef int cb_not_for_this_compiler;
#endif
