/* What the environment says: how the application behaves, or misbehaves.
 *
 * PORT (or PORT0; 8080; 0: any, see the first line of output)   BIND address (0.0.0.0)
 * VERSION sent as X-Version   INSTANCE sent as X-Instance (the host's name)
 * START_MS before it listens   WARM_MS of 503 on /health and /ready after that   CRASH_AFTER_MS: exits 1 then
 * REQ_MS service time of a request   SLOW_PCT percent of the requests take SLOW_MS   `?ms=N` asks for one's own
 * ERROR_PCT percent of the requests are answered with 500; not /health and /ready
 * HEALTH ok | never | file:/path (healthy while the file is there); `/control/health?ok=0|1` overrules it
 * TERM_MODE what SIGTERM does:
 *   exit    ends at once, losing what is in flight
 *   drain   serves what is in flight or already waiting with `Connection: close`, then exits 0; after DRAIN_MS exits 1
 *   lame    /health fails for DRAIN_MS while all else is served, then as drain
 *   ignore  nothing
 * RECORDS a folder: each POST with an X-Request-Id adds `id version instance milliseconds` to <instance>.log there at
 * the end of its service time and before its answer, by one write, so the records survive SIGKILL.
 */
#ifndef COLDCHAIN_SETTINGS_H
#define COLDCHAIN_SETTINGS_H

#include <stdbool.h>

enum { NAME_SIZE = 128, NEVER = -1 };

enum term_mode { TERM_EXIT, TERM_DRAIN, TERM_LAME, TERM_IGNORE };

extern struct settings {
    char version[NAME_SIZE], instance[NAME_SIZE];
    const char *bind, *records, *health_file;
    bool health_never;
    enum term_mode term_mode;
    long port, start_ms, warm_ms, crash_after_ms, request_ms, slow_percent, slow_ms, error_percent, drain_ms;
} settings;

/* Ends the process with status 2 and a line that names what is wrong when a variable makes no sense. */
void read_settings(void);

_Noreturn void fail(const char *what, const char *which);

#endif
