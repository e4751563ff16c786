/* Deadlines in a binary heap, so that thousands of delayed answers cost little. */
#ifndef COLDCHAIN_DEADLINES_H
#define COLDCHAIN_DEADLINES_H

#include <stddef.h>
#include <stdint.h>

/* Put one first into whatever waits. Zeroed: it waits for nothing. */
struct deadline {
    int64_t at;
    size_t place; /* in the heap, from 1; 0: none */
};

/* False when memory is out. A deadline that is set must be cleared before it is set again. */
int deadline_set(struct deadline *deadline, int64_t at);

/* Nothing happens to one that is not set. */
void deadline_clear(struct deadline *deadline);

/* The earliest, NULL when there is none. */
struct deadline *deadline_next(void);

#endif
