/* Whether something was written to a file descriptor that never blocks: what was is read and forgotten.
 * Also where it cannot be read, so that somebody looks.
 */
#ifndef CBACKPROP_WAKEUP_H
#define CBACKPROP_WAKEUP_H

#if defined(_WIN32)
static inline int cb_is_woken(int fd)
{
    (void)fd;
    return 1;
}
#else
#include <errno.h>
#include <unistd.h>

static inline int cb_is_woken(int fd)
{
    char bytes[64];
    return read(fd, bytes, sizeof bytes) >= 0 || errno != EAGAIN;
}
#endif

#endif
