/* The products in bfloat16 for AVX-512 F, BW, DQ, VL and BF16, beside the float32 table. */
#if defined(__AVX512F__) && defined(__AVX512BF16__)
#define CB_BITS 32
#define CB_AVX512
#include <string.h>
#include "vector.h"
/* Of the parts that the tables share, some functions are not for here. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "vecmath.h"
#include "specialmath.h"
#include "activations.h"
#include "dropout.h"
#include "updates.h"
#include "ahead.h"
#include "bf16_tiles.h"
#include "bf16.h"
#else
typedef int cb_not_for_this_compiler;
#endif
