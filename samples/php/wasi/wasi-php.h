/* What PHP 8.2 expects of a POSIX system and wasi-libc lacks. Included before each file of PHP's. */
#ifndef WASI_PHP_H
#define WASI_PHP_H
#ifndef __ASSEMBLER__
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* Memory without a file behind it, aligned as PHP's allocator asks. */
void *php_mmap(void *, size_t, int, int, int, long long);
int php_munmap(void *, size_t);
int php_mprotect(void *, size_t, int);
#define mmap php_mmap
#define munmap php_munmap
#define mprotect php_mprotect

/* Defined in stubs.c: each fails as on a system that forbids it. */
FILE *popen(const char *, const char *);
int pclose(FILE *);
int chown(const char *, uid_t, gid_t);
int lchown(const char *, uid_t, gid_t);
int getgroups(int, gid_t *);
int getdtablesize(void);
char *mktemp(char *);
int socket(int, int, int);
int bind(int, const struct sockaddr *, socklen_t);
int connect(int, const struct sockaddr *, socklen_t);
int listen(int, int);
int setsockopt(int, int, int, const void *, socklen_t);
int getsockname(int, struct sockaddr *, socklen_t *);
int getpeername(int, struct sockaddr *, socklen_t *);
ssize_t recvfrom(int, void *, size_t, int, struct sockaddr *, socklen_t *);
ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
int madvise(void *, size_t, int);
void openlog(const char *, int, int);
void closelog(void);
void syslog(int, const char *, ...);
/* Files have no modes: setting one succeeds, as move_uploaded_file expects. */
#define chmod(path, mode) (0)

void arc4random_buf(void *, size_t);
int mkstemp(char *);

/* One user, one process: defined in stubs.c. */
unsigned getuid(void);
unsigned geteuid(void);
unsigned getgid(void);
unsigned getegid(void);
unsigned umask(unsigned);
int setsid(void);
int dup(int);
int fork(void);
int wait(int *);
int kill(int, int);

struct php_sockaddr_un {
  sa_family_t sun_family;
  char sun_path[108];
};
#define sockaddr_un php_sockaddr_un
#ifndef AF_UNIX
#define AF_UNIX 3
#endif
#undef PF_UNIX
#define PF_UNIX AF_UNIX
#ifndef F_RDLCK
#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2
#define F_SETLK 6
#define F_SETLKW 7
#endif
#ifndef SO_ERROR
#define SO_ERROR 4
#endif
#ifndef SOL_IP
#define SOL_IP 0
#endif
#ifndef POLLPRI
#define POLLPRI 2
#endif
#ifndef MSG_OOB
#define MSG_OOB 1
#endif

/* No signal is ever delivered. */
#ifndef SA_RESTART
struct sigaction {
  void (*sa_handler)(int);
  int sa_flags;
  sigset_t sa_mask;
};
#define SA_RESTART 0
static inline int sigaction(int s, const struct sigaction *a, struct sigaction *o) { return 0; }
#endif
#ifndef sigemptyset
#define sigemptyset(x) (0)
#define sigaddset(x, y) (0)
#define sigprocmask(a, b, c) (0)
/* Fibers need a second stack, which WebAssembly has not: making one fails. */
typedef struct wasi_ucontext {
  struct wasi_ucontext *uc_link;
  struct {
    void *ss_sp;
    unsigned long ss_size;
    int ss_flags;
  } uc_stack;
} ucontext_t;
static inline int getcontext(ucontext_t *u) { return -1; }
static inline int setcontext(const ucontext_t *u) { return -1; }
static inline int swapcontext(ucontext_t *o, const ucontext_t *u) { __builtin_trap(); }
static inline void makecontext(ucontext_t *u, void (*f)(void), int n, ...) {}
#endif
#endif
#endif
