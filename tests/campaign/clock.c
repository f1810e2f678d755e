/* A clock that is set back while a run is at work, at the moment CLOCK_BACK_AT, by CLOCK_BACK_BY seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t back(time_t now) {
  const char *at = getenv("CLOCK_BACK_AT"), *by = getenv("CLOCK_BACK_BY");
  return at && by && now >= atoll(at) ? now - atoll(by) : now;
}

int clock_gettime(clockid_t clock, struct timespec *found) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int ended = real(clock, found);
  if (ended == 0 && clock == CLOCK_REALTIME) found->tv_sec = back(found->tv_sec);
  return ended;
}

time_t time(time_t *found) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (found) *found = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *found, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  found->tv_sec = now.tv_sec;
  found->tv_usec = now.tv_nsec / 1000;
  return 0;
}
