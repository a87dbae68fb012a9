// The files of SQLite on WASI, which has no locks: a file's name says which guest has a database.
//
// The directory DATABASE-lock holds one file. Its name is "free", or TIME-GUEST while a guest has the database, TIME
// being milliseconds of the clock. A guest takes the database, keeps it and gives it back by a rename of that very name,
// which succeeds for one guest alone.
//
// A guest that is stopped leaves its name behind. EXPIRY later another guest takes the database by a rename of that name
// and rolls back the transaction that is in the journal. So each guest renews its name before it reads or writes,
// unless the name is new enough: a guest that has lost the database meanwhile finds its own name gone, and its
// transaction fails without a further write.
#include "sqlite3.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EXPIRY = 10000, NAME = 64 };

// A database that connections of this guest have open.
typedef struct Database {
  struct Database *next;
  char *path, *directory; // the latter with its slash
  int files;              // open files of the database and its journal
  int shared;             // connections with a lock
  int level;              // the highest lock of a connection
  int is_lost;            // another guest has taken the database
  sqlite3_int64 time;     // of the name
  sqlite3_int64 kept;     // the same moment, of a clock that is never set
  char name[NAME];        // empty without a lock, and where no lock can be had because files are read-only
} Database;

typedef struct File {
  sqlite3_file methods;
  Database *database; // NULL for temporary files, and for the journal that names those of several databases
  int level, is_readonly;
} File; // the file of the other VFS follows

static sqlite3_vfs vfs, *files;
static Database *databases;

static sqlite3_file *inner(sqlite3_file *file) { return (sqlite3_file *)((File *)file + 1); }

static sqlite3_int64 now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

// --- the name --------------------------------------------------------------------------------------------------------

static int rename_within(Database *database, const char *from, const char *to) {
  char *old = sqlite3_mprintf("%s%s", database->directory, from), *new = sqlite3_mprintf("%s%s", database->directory, to);
  int is_renamed = old && new && !rename(old, new);
  sqlite3_free(old);
  sqlite3_free(new);
  return is_renamed;
}

// Puts this guest's name in the place of another.
static int rename_to_own(Database *database, const char *from) {
  static sqlite3_uint64 guest;
  if (!guest) sqlite3_randomness(sizeof guest, &guest);
  char name[NAME];
  sqlite3_int64 time = now(CLOCK_REALTIME), kept = now(CLOCK_MONOTONIC);
  sqlite3_snprintf(NAME, name, "%lld-%016llx", time, guest);
  if (!rename_within(database, from, name)) return 0;
  memcpy(database->name, name, NAME);
  database->time = time;
  database->kept = kept;
  return 1;
}

static int is_expired(const char *name) {
  sqlite3_int64 age = now(CLOCK_REALTIME) - strtoll(name, NULL, 10);
  return age >= EXPIRY || age <= -EXPIRY; // the clock may have been set back
}

// Reads the name: 1 if there is one that may be replaced, 0 if there is none, -1 if a guest has the database.
static int read_name(Database *database, char *name) {
  int found = 0;
  DIR *directory = opendir(database->directory);
  if (!directory) return 0;
  for (struct dirent *entry; found >= 0 && (entry = readdir(directory));) {
    if (entry->d_name[0] == '.') continue;
    if (strlen(entry->d_name) >= NAME || (strcmp(entry->d_name, "free") && !is_expired(entry->d_name))) found = -1;
    else found = !!strcpy(name, entry->d_name);
  }
  closedir(directory);
  return found;
}

// Makes the directory with its file at once, so that no guest that is stopped meanwhile leaves it empty.
static int make_directory(Database *database) {
  sqlite3_uint64 random;
  sqlite3_randomness(sizeof random, &random);
  char *new = sqlite3_mprintf("%s-lock-%016llx", database->path, random), *file = sqlite3_mprintf("%s/free", new);
  int is_made = new && file && !mkdir(new, 0777), error = errno;
  if (is_made) {
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0666);
    error = errno;
    is_made = fd >= 0 && !close(fd);
    // One with a file in it is not replaced.
    if (!is_made || rename(new, database->directory)) unlink(file), rmdir(new);
  }
  sqlite3_free(new);
  sqlite3_free(file);
  errno = error;
  return is_made;
}

// Takes the database. Where files are read-only no guest can: it is read unless another one has it.
static int take(Database *database, int is_readonly) {
  char name[NAME];
  for (int attempt = 0; attempt < 5; attempt++) {
    if (rename_to_own(database, "free")) return SQLITE_OK;
    if (errno != ENOENT) break;
    int found = read_name(database, name);
    if (found < 0) return SQLITE_BUSY;
    if (found && rename_to_own(database, name)) return SQLITE_OK;
    if (!found && !make_directory(database)) break;
  }
  if (errno == ENOENT) return SQLITE_BUSY; // other guests were faster
  if (!is_readonly) return SQLITE_IOERR_LOCK;
  return read_name(database, name) < 0 ? SQLITE_BUSY : SQLITE_OK;
}

static void give_back(Database *database) {
  if (database->name[0]) rename_within(database, database->name, "free");
  database->name[0] = 0;
  database->is_lost = 0;
}

// A clock that was set back, after another guest took the database, would make an old name look new.
static int is_old(Database *database) {
  sqlite3_int64 age = now(CLOCK_REALTIME) - database->time;
  return age < 0 || age >= EXPIRY / 2 || now(CLOCK_MONOTONIC) - database->kept >= EXPIRY / 2;
}

// Renews the names of this guest's databases. The result is an error if this one, or one of all in the place of NULL,
// belongs to another guest by now.
static int keep(Database *database) {
  int error = SQLITE_OK;
  for (Database *each = databases; each; each = each->next) {
    if (each->name[0] && !each->is_lost && is_old(each)) each->is_lost = !rename_to_own(each, each->name);
    if (each->is_lost && (!database || each == database)) error = SQLITE_IOERR_LOCK;
  }
  return error;
}

// --- files -----------------------------------------------------------------------------------------------------------

static Database *find(const char *name, const char *suffix) {
  for (Database *each = databases; each; each = each->next) {
    size_t length = strlen(each->path);
    if (!strncmp(name, each->path, length) && !strcmp(name + length, suffix)) return each;
  }
  return NULL;
}

static Database *find_or_add(const char *path) {
  Database *database = find(path, "");
  if (database) return database;
  database = sqlite3_malloc(sizeof *database);
  if (!database) return NULL;
  memset(database, 0, sizeof *database);
  database->path = sqlite3_mprintf("%s", path);
  database->directory = sqlite3_mprintf("%s-lock/", path);
  if (!database->path || !database->directory) {
    sqlite3_free(database->path);
    sqlite3_free(database->directory);
    sqlite3_free(database);
    return NULL;
  }
  database->next = databases;
  return databases = database;
}

static void forget(Database *database) {
  if (!database || --database->files) return;
  Database **place = &databases;
  while (*place != database) place = &(*place)->next;
  *place = database->next;
  sqlite3_free(database->path);
  sqlite3_free(database->directory);
  sqlite3_free(database);
}

static int unlock(sqlite3_file *file, int level) {
  Database *database = ((File *)file)->database;
  int *held = &((File *)file)->level;
  if (*held <= level) return SQLITE_OK;
  if (*held > SQLITE_LOCK_SHARED) database->level = SQLITE_LOCK_SHARED;
  *held = level;
  if (level == SQLITE_LOCK_NONE && !--database->shared) {
    database->level = SQLITE_LOCK_NONE;
    give_back(database);
  }
  return SQLITE_OK;
}

// One guest has the database; its connections share it as processes do elsewhere (see unixLock of SQLite).
static int lock(sqlite3_file *file, int level) {
  Database *database = ((File *)file)->database;
  int *held = &((File *)file)->level;
  if (!database || *held >= level) return SQLITE_OK;
  if (*held != database->level && (database->level >= SQLITE_LOCK_PENDING || level > SQLITE_LOCK_SHARED))
    return SQLITE_BUSY;
  if (level == SQLITE_LOCK_SHARED) {
    int error = database->shared ? keep(database) : take(database, ((File *)file)->is_readonly);
    if (error) return error;
    database->shared++;
    if (database->level < level) database->level = level;
    *held = level;
    return SQLITE_OK;
  }
  int is_shared = level == SQLITE_LOCK_EXCLUSIVE && database->shared > 1;
  *held = database->level = is_shared ? SQLITE_LOCK_PENDING : level;
  return is_shared ? SQLITE_BUSY : keep(database);
}

static int check_reserved_lock(sqlite3_file *file, int *result) {
  Database *database = ((File *)file)->database;
  *result = database && database->level >= SQLITE_LOCK_RESERVED;
  return SQLITE_OK;
}

static int close_file(sqlite3_file *file) {
  unlock(file, SQLITE_LOCK_NONE);
  int error = inner(file)->pMethods->xClose(inner(file));
  forget(((File *)file)->database);
  return error;
}

static int read_file(sqlite3_file *file, void *data, int size, sqlite3_int64 offset) {
  Database *database = ((File *)file)->database;
  int error = keep(database);
  if (!error) error = inner(file)->pMethods->xRead(inner(file), data, size, offset);
  // SQLite's own error is that the file is no database.
  if (!error && !offset && size >= 100 && !memcmp(data, "SQLite format 3", 16) && ((char *)data)[19] == 2)
    fprintf(stderr, "SQLite: %s has journal_mode = WAL, which WASI cannot have: set it to DELETE elsewhere\n",
            database ? database->path : "a file");
  return error;
}

static int write_file(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
  int error = keep(((File *)file)->database);
  return error ? error : inner(file)->pMethods->xWrite(inner(file), data, size, offset);
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size) {
  int error = keep(((File *)file)->database);
  return error ? error : inner(file)->pMethods->xTruncate(inner(file), size);
}

static int sync_file(sqlite3_file *file, int flags) { return inner(file)->pMethods->xSync(inner(file), flags); }

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  return inner(file)->pMethods->xFileSize(inner(file), size);
}

// A stopped guest leaves a broken database behind unless its journal is a file.
static int file_control(sqlite3_file *file, int operation, void *argument) {
  char **pragma = argument;
  if (operation == SQLITE_FCNTL_PRAGMA && pragma[2] && !sqlite3_stricmp(pragma[1], "journal_mode") &&
      (!sqlite3_stricmp(pragma[2], "memory") || !sqlite3_stricmp(pragma[2], "off"))) {
    pragma[0] = sqlite3_mprintf("delete");
    return pragma[0] ? SQLITE_OK : SQLITE_NOMEM;
  }
  return inner(file)->pMethods->xFileControl(inner(file), operation, argument);
}

static int sector_size(sqlite3_file *file) { return inner(file)->pMethods->xSectorSize(inner(file)); }

static int device_characteristics(sqlite3_file *file) {
  return inner(file)->pMethods->xDeviceCharacteristics(inner(file));
}

// Version 1: without shared memory.
static const sqlite3_io_methods methods = {
  1, close_file, read_file, write_file, truncate_file, sync_file, file_size, lock, unlock, check_reserved_lock,
  file_control, sector_size, device_characteristics,
};

static int open_file(sqlite3_vfs *_, const char *name, sqlite3_file *file, int flags, int *flags_out) {
  Database *database = NULL;
  int opened = 0, error;
  file->pMethods = NULL;
  if (name && flags & SQLITE_OPEN_MAIN_DB && !(database = find_or_add(name))) return SQLITE_NOMEM;
  if (name && flags & SQLITE_OPEN_MAIN_JOURNAL) database = find(name, "-journal");
  if (database) database->files++;
  error = keep(database);
  if (!error) error = files->xOpen(files, name, inner(file), flags, &opened);
  if (error) {
    forget(database);
    return error;
  }
  if (flags_out) *flags_out = opened;
  *(File *)file = (File){{&methods}, database, SQLITE_LOCK_NONE, opened & SQLITE_OPEN_READONLY};
  return SQLITE_OK;
}

// The deletion of a journal ends its transaction, in several databases if the journal is none of a single one. WASI
// cannot sync a directory: the attempt would fail, after the deletion.
static int delete_file(sqlite3_vfs *_, const char *name, int is_directory_synced) {
  int error = keep(find(name, "-journal"));
  return error ? error : files->xDelete(files, name, 0);
}

// Called by sqlite3_initialize (SQLITE_EXTRA_INIT).
int sqlite_lock_init(const char *_) {
  files = sqlite3_vfs_find("unix-none");
  vfs = *files;
  vfs.zName = "wasi";
  vfs.szOsFile += sizeof(File);
  vfs.xOpen = open_file;
  vfs.xDelete = delete_file;
  return sqlite3_vfs_register(&vfs, 1);
}
