/* Memory on large pages, where the system has them for the asking. */
#ifndef CBACKPROP_PAGES_H
#define CBACKPROP_PAGES_H

#include <stddef.h>
#if defined(__linux__)
#include <sys/mman.h>
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
