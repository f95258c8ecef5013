/* Memory on large pages, where the system has them for the asking; walls, where a sanitizer looks. */
#ifndef CBACKPROP_PAGES_H
#define CBACKPROP_PAGES_H

#include <stddef.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* AddressSanitizer knows where an allocation ends, not the parts that an arena is cut into: in its
 * build each part of the workspaces, and each arena, has bytes behind it that nobody may touch. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CB_WALLS
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(CB_WALLS)
#include <sanitizer/asan_interface.h>
enum { CB_WALL = 256 };
static inline void cb_forbid(void *begin, size_t n_bytes)
{
    ASAN_POISON_MEMORY_REGION(begin, n_bytes);
}
#else
enum { CB_WALL = 0 };
static inline void cb_forbid(void *begin, size_t n_bytes)
{
    (void)begin;
    (void)n_bytes;
}
#endif

/* Advice, for whole pages that nobody has touched yet; refused silently. */
static inline void cb_use_large_pages(void *begin, size_t n_bytes)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    (void)madvise(begin, n_bytes, MADV_HUGEPAGE);
#else
    (void)begin;
    (void)n_bytes;
#endif
}

#endif
