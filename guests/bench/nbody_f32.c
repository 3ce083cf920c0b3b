/* Single precision with divisions and square roots: bodies that attract each other. */
#include "bench.h"

#define BODIES 16
const char kernel_name[] = "nbody_f32";
const u64 kernel_rounds = 32000;
struct body { float x, y, z, vx, vy, vz, mass; };
static struct body bodies[BODIES];

static float coordinate(u64 *state)
{
    return (float)(i32)(next_random(state) >> 8) * 0x1p-22f - 1.0f;
}

void kernel_setup(void)
{
    u64 state = 5;
    for (int n = 0; n < BODIES; n++) {
        struct body *b = &bodies[n];
        b->x = coordinate(&state), b->y = coordinate(&state), b->z = coordinate(&state);
        b->vx = b->vy = b->vz = 0.0f;
        b->mass = 1.0f + 0.5f * coordinate(&state);
    }
}

static void step(float dt)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            float dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            float square = dx * dx + dy * dy + dz * dz + 0.01f;
            float pull = dt / (square * __builtin_sqrtf(square));
            a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
            b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        a->x += dt * a->vx, a->y += dt * a->vy, a->z += dt * a->vz;
    }
}

u64 kernel_run(u64 rounds)
{
    for (u64 round = 0; round < rounds; round++)
        step(0.001f);
    u64 sum = 0;
    for (int n = 0; n < BODIES; n++) {
        union { float value; u32 bits; } x = {bodies[n].x}, v = {bodies[n].vy};
        sum = mix(mix(sum, x.bits), v.bits);
    }
    return sum;
}
