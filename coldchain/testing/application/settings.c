#define _GNU_SOURCE
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

struct settings settings;

_Noreturn void fail(const char *what, const char *which)
{
    fprintf(stderr, "application: %s: %s\n", what, which);
    exit(2);
}

/* An empty variable counts as none. */
static const char *text(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static long number(const char *name, long otherwise)
{
    const char *digits = text(name, NULL);
    if (!digits)
        return otherwise;
    char *end;
    long value = strtol(digits, &end, 10);
    if (*end || value < 0 || value > 1000000000)
        fail("must be a whole number, not negative", name);
    return value;
}

static void name_setting(char *to, const char *variable, const char *otherwise)
{
    snprintf(to, NAME_SIZE, "%s", text(variable, otherwise));
    make_safe(to);
}

void read_settings(void)
{
    char host[NAME_SIZE] = "unknown";
    gethostname(host, sizeof host - 1);
    name_setting(settings.version, "VERSION", "unknown");
    name_setting(settings.instance, "INSTANCE", host);
    settings.start_ms = number("START_MS", 0);
    settings.warm_ms = number("WARM_MS", 0);
    settings.request_ms = number("REQ_MS", 0);
    settings.slow_percent = number("SLOW_PCT", 0);
    settings.slow_ms = number("SLOW_MS", 0);
    settings.error_percent = number("ERROR_PCT", 0);
    settings.drain_ms = number("DRAIN_MS", 10000);
    settings.crash_after_ms = number("CRASH_AFTER_MS", NEVER);
    settings.port = number("PORT", number("PORT0", 8080));
    settings.bind = text("BIND", "0.0.0.0");
    settings.records = text("RECORDS", NULL);
    const char *health = text("HEALTH", "ok");
    if (strncmp(health, "file:", 5) == 0)
        settings.health_file = health + 5;
    else if (strcmp(health, "never") == 0)
        settings.health_never = true;
    else if (strcmp(health, "ok") != 0)
        fail("HEALTH must be ok, never or file:/path", health);
    static const char *const modes[] = {"exit", "drain", "lame", "ignore"};
    const char *mode = text("TERM_MODE", "drain");
    for (settings.term_mode = TERM_EXIT; strcmp(mode, modes[settings.term_mode]) != 0;)
        if (++settings.term_mode > TERM_IGNORE)
            fail("TERM_MODE must be exit, drain, lame or ignore", mode);
}
