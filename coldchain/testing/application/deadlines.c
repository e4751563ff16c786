#include "deadlines.h"

#include <stdlib.h>

static struct deadline **heap; /* heap[1] is the earliest, heap[0] is not used */
static size_t length, capacity;

static void put(size_t place, struct deadline *deadline)
{
    heap[place] = deadline;
    deadline->place = place;
}

static void settle(size_t place, struct deadline *deadline)
{
    while (place > 1 && heap[place / 2]->at > deadline->at) {
        put(place, heap[place / 2]);
        place /= 2;
    }
    for (size_t child; (child = place * 2) <= length; place = child) {
        if (child < length && heap[child + 1]->at < heap[child]->at)
            child++;
        if (heap[child]->at >= deadline->at)
            break;
        put(place, heap[child]);
    }
    put(place, deadline);
}

int deadline_set(struct deadline *deadline, int64_t at)
{
    if (length + 2 > capacity) {
        size_t wanted = capacity ? capacity * 2 : 256;
        struct deadline **larger = realloc(heap, wanted * sizeof *heap);
        if (!larger)
            return 0;
        heap = larger;
        capacity = wanted;
    }
    deadline->at = at;
    settle(++length, deadline);
    return 1;
}

void deadline_clear(struct deadline *deadline)
{
    size_t place = deadline->place;
    if (!place)
        return;
    deadline->place = 0;
    struct deadline *last = heap[length--];
    if (last != deadline)
        settle(place, last);
}

struct deadline *deadline_next(void) { return length ? heap[1] : NULL; }
