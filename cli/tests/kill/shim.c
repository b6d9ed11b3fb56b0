// Ends the process with SIGKILL just before its KILL_AT-th call that changes the file system: a crash at every moment there is.
// Built by cli/tests/kills.rs: cc -shared -fPIC shim.c -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void count(void) {
    static int calls = 0;
    const char *at = getenv("KILL_AT");
    if (at && __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) == atoi(at)) kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
// messages to a terminal or a pipe change nothing
#define FILES_ONLY(fd) if (fd > 2) count()

ssize_t write(int fd, const void *b, size_t n) { FILES_ONLY(fd); return REAL(write)(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { FILES_ONLY(fd); return REAL(writev)(fd, v, n); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { FILES_ONLY(fd); return REAL(pwrite64)(fd, b, n, o); }
int ftruncate64(int fd, off64_t n) { count(); return REAL(ftruncate64)(fd, n); }
int fsync(int fd) { count(); return REAL(fsync)(fd); }
int fdatasync(int fd) { count(); return REAL(fdatasync)(fd); }
int rename(const char *a, const char *b) { count(); return REAL(rename)(a, b); }
int renameat2(int d, const char *a, int e, const char *b, unsigned f) { count(); return REAL(renameat2)(d, a, e, b, f); }
int link(const char *a, const char *b) { count(); return REAL(link)(a, b); }
int unlink(const char *a) { count(); return REAL(unlink)(a); }
int unlinkat(int d, const char *a, int f) { count(); return REAL(unlinkat)(d, a, f); }
int rmdir(const char *a) { count(); return REAL(rmdir)(a); }
int mkdir(const char *a, mode_t m) { count(); return REAL(mkdir)(a, m); }
int fchmod(int fd, mode_t m) { count(); return REAL(fchmod)(fd, m); }
int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, int);
    va_end(list);
    if (flags & (O_CREAT | O_TRUNC)) count();
    return REAL(open64)(path, flags, mode);
}
