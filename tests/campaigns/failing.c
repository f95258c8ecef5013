/* The k-th allocation fails, once or from then on: preloaded by allocations.py (glibc).
 *
 *     cc -shared -fPIC -O1 failing.c -o failing.so
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_long first = -1, last, seen;

/* Allocations first .. last, counted from 0 now, fail; first < 0: none. */
void failing_arm(long from, long to)
{
    atomic_store(&seen, 0);
    atomic_store(&last, to);
    atomic_store(&first, from);
}

/* None fails any more; how many there were. */
long failing_disarm(void)
{
    atomic_store(&first, -1);
    return atomic_load(&seen);
}

static int fails(void)
{
    const long from = atomic_load(&first);
    if (from < 0)
        return 0;
    const long k = atomic_fetch_add(&seen, 1);
    if (k < from || k > atomic_load(&last))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return n && fails() ? NULL : __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { return fails() ? NULL : __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { return memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n)
{
    void *found = memalign(a, n);
    if (found)
        *p = found;
    return found ? 0 : ENOMEM;
}
void *mmap(void *at, size_t n, int protection, int flags, int file, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) && fails())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, protection, flags, file, offset);
}
