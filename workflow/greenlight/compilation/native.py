"""C++ of our own for a CPU: products of packed weights and causal attention, in float32.

Both are made of one tile: some rows times panels of 16 outputs each, which lie in memory as they are read. Compiled by
Inductor's tools, with their flags and into their cache: a second of processor time the first time.
"""

from __future__ import annotations

import ctypes
import functools

from greenlight.compilation.kernels import known_instruction_sets

# Outputs of a panel.
PANEL = 16

_TILES = (
    """
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

constexpr int64_t WIDTH = """
    + str(PANEL)
    + """;
typedef float Panel __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t Bits __attribute__((vector_size(4 * WIDTH), aligned(4)));

#ifdef __AVX512F__
constexpr int ROWS = 8, PANELS = 2;
#else
constexpr int ROWS = 4, PANELS = 1;
#endif
// Products that are summed before they are added to the result.
constexpr int64_t SUMMED = 128;
// How far ahead of their use panels are asked for, in rows of them.
constexpr int64_t AHEAD = 24;

static inline Panel& panel(float* at) { return *reinterpret_cast<Panel*>(at); }
static inline const Panel& panel(const float* at) { return *reinterpret_cast<const Panel*>(at); }

// y [ROWS, out] = x [ROWS, in] times PANELS panels [in, WIDTH], `apart` rows apart, plus a bias that may be null
template <int ROWS, int PANELS>
static inline void tile(
    const float* x, const float* panels, int64_t apart, const float* bias, float* y, int64_t in, int64_t out) {
    for (int64_t first = 0; first < in; first += SUMMED) {
        Panel sum[ROWS][PANELS] = {};
        for (int64_t k = first; k < std::min(first + SUMMED, in); ++k) {
            Panel part[PANELS];
            for (int p = 0; p < PANELS; ++p) {
                const float* at = panels + (p * apart + k) * WIDTH;
                __builtin_prefetch(at + AHEAD * WIDTH);
                part[p] = panel(at);
            }
            for (int r = 0; r < ROWS; ++r)
                for (int p = 0; p < PANELS; ++p) sum[r][p] += x[r * in + k] * part[p];
        }
        for (int r = 0; r < ROWS; ++r)
            for (int p = 0; p < PANELS; ++p) {
                Panel& to = panel(y + r * out + p * WIDTH);
                if (first) to += sum[r][p];
                else if (bias) to = sum[r][p] + panel(bias + p * WIDTH);
                else to = sum[r][p];
            }
    }
}

template <int ROWS, int PANELS>
static void tiles(
    const float* x, const float* panels, int64_t apart, const float* bias, float* y, int64_t rows, int64_t in,
    int64_t out) {
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * in, y += ROWS * out)
        tile<ROWS, PANELS>(x, panels, apart, bias, y, in, out);
    if constexpr (ROWS > 1) tiles<ROWS / 2, PANELS>(x, panels, apart, bias, y, rows, in, out);
}
"""
)

_PRODUCT = """
// Rows that stay in a cache while all panels pass.
constexpr int64_t ROWS_AT_ONCE = 256;

// y [rows, out] = x [rows, in] times the weights [out / WIDTH, in, WIDTH] plus bias [out], which may be null
extern "C" void product(
    const float* x, const float* weight, const float* bias, float* y, int64_t rows, int64_t in, int64_t out) {
    const int64_t panels = out / WIDTH, columns = (panels + PANELS - 1) / PANELS;
    #pragma omp parallel
    for (int64_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        const int64_t count = std::min(ROWS_AT_ONCE, rows - row);
        const float* from = x + row * in;
        #pragma omp for schedule(static) nowait
        for (int64_t column = 0; column < columns; ++column) {
            const int64_t at = column * PANELS * WIDTH;
            const float* own = bias ? bias + at : nullptr;
            float* to = y + row * out + at;
            if ((column + 1) * PANELS <= panels)
                tiles<ROWS, PANELS>(from, weight + at * in, in, own, to, count, in, out);
            else
                tiles<ROWS, 1>(from, weight + at * in, in, own, to, count, in, out);
        }
    }
}
"""

_ATTENTION = """
// The exponential of numbers up to 0, as in Cephes: a power of two times a polynomial. Not a number stays so.
static inline Panel exponential(Panel x) {
    const Panel least = Panel{} - 87.0f;
    x = x < least ? least : x;
    const Panel shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the integer is in the last bits
    const Panel whole = shifted - 12582912.0f;
    const Panel rest = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
    Panel sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    const Bits power = (reinterpret_cast<const Bits&>(shifted) << 23) + 0x3f800000;
    return (sum * rest * rest + rest + 1.0f) * reinterpret_cast<const Panel&>(power);
}

// Scores of `count` keys of which the first `seen` count, in place: exponentials. Returns their sum.
static inline float exponentials(float* scores, int64_t seen, int64_t count) {
    std::fill(scores + seen, scores + count, -INFINITY);
    Panel most = panel(scores), sum = {};
    for (int64_t k = WIDTH; k < count; k += WIDTH) most = panel(scores + k) > most ? panel(scores + k) : most;
    float largest = most[0], total = 0;
    for (int l = 1; l < WIDTH; ++l) largest = most[l] > largest ? most[l] : largest;
    for (int64_t k = 0; k < count; k += WIDTH) sum += panel(scores + k) = exponential(panel(scores + k) - largest);
    std::fill(scores + seen, scores + count, 0.0f);
    for (int l = 0; l < WIDTH; ++l) total += sum[l];
    return total;
}

static inline int64_t padded(int64_t number) { return (number + WIDTH - 1) / WIDTH * WIDTH; }

template <int PANELS>
static void columns(
    const float* x, const float* panels, int64_t apart, float* y, int64_t rows, int64_t in, int64_t out, int64_t used) {
    int64_t at = 0;
    for (; at + PANELS * WIDTH <= used; at += PANELS * WIDTH)
        tiles<ROWS, PANELS>(x, panels + at * apart, apart, nullptr, y + at, rows, in, out);
    if constexpr (PANELS > 1)
        if (at < used) tiles<ROWS, 1>(x, panels + at * apart, apart, nullptr, y + at, rows, in, out);
}

// Keys of one head as panels [keys / WIDTH, size, WIDTH], values as [size / WIDTH, keys, WIDTH], filled up by zeros.
static void pack(
    const float* key, int64_t key_step, const float* value, int64_t value_step, float* keys, float* values,
    int64_t tokens, int64_t size) {
    const int64_t count = padded(tokens);
    for (int64_t first = 0; first < count; first += WIDTH)
        for (int64_t d = 0; d < size; ++d)
            for (int64_t k = first; k < first + WIDTH; ++k)
                keys[first * size + d * WIDTH + k - first] = k < tokens ? key[k * key_step + d] : 0;
    for (int64_t first = 0; first < size; first += WIDTH)
        for (int64_t k = 0; k < count; ++k)
            for (int64_t d = first; d < first + WIDTH; ++d)
                values[first * count + k * WIDTH + d - first] = k < tokens && d < size ? value[k * value_step + d] : 0;
}

// y [batch, tokens, heads, size], causal, of query, key and value [batch, heads, tokens, size] with `steps` of theirs
// for batch, head and token. `room`: for all packed keys and values.
extern "C" void causal_attention(
    const float* query, const float* key, const float* value, const int64_t* steps, float* room, float* y,
    int64_t batch, int64_t heads, int64_t tokens, int64_t size) {
    const int64_t count = padded(tokens), wide = padded(size), blocks = (tokens + ROWS - 1) / ROWS;
    const int64_t keys = count * size, values = count * wide;
    const float scale = 1 / std::sqrt(float(size));
    auto head_of = [&](const float* from, const int64_t* step, int64_t head) {
        return from + head / heads * step[0] + head % heads * step[1];
    };
    #pragma omp parallel
    {
        #pragma omp for schedule(static)
        for (int64_t head = 0; head < batch * heads; ++head) {
            float* to = room + head * (keys + values);
            pack(head_of(key, steps + 3, head), steps[5], head_of(value, steps + 6, head), steps[8], to, to + keys,
                tokens, size);
        }
        std::vector<float> own(ROWS * (size + count + wide));
        float *scaled = own.data(), *scores = scaled + ROWS * size, *mixed = scores + ROWS * count;
        // In turn: later rows see more keys.
        #pragma omp for schedule(static, 1)
        for (int64_t block = 0; block < batch * heads * blocks; ++block) {
            const int64_t head = block / blocks, first = block % blocks * ROWS;
            const int64_t rows = std::min<int64_t>(ROWS, tokens - first), seen = padded(first + rows);
            const float* from = head_of(query, steps, head) + first * steps[2];
            const float* packed = room + head * (keys + values);
            float sums[ROWS];
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t d = 0; d < size; ++d) scaled[r * size + d] = from[r * steps[2] + d] * scale;
            columns<PANELS>(scaled, packed, size, scores, rows, size, seen, seen);
            for (int64_t r = 0; r < rows; ++r) sums[r] = exponentials(scores + r * seen, first + r + 1, seen);
            columns<PANELS>(scores, packed + keys, count, mixed, rows, seen, wide, wide);
            for (int64_t r = 0; r < rows; ++r) {
                float* to = y + ((head / heads * tokens + first + r) * heads + head % heads) * size;
                for (int64_t d = 0; d < size; ++d) to[d] = mixed[r * wide + d] / sums[r];
            }
        }
    }
}
"""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The functions `product` and `causal_attention`; None where they can't be compiled."""
    try:
        from torch._inductor import config
        from torch._inductor.codecache import CppCodeCache
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

        # Multiplying and adding in one instruction; Inductor's own kernels keep the two apart.
        with config.patch(known_instruction_sets() | {"cpp.enable_floating_point_contract_flag": "fast"}):
            found = CppCodeCache.load(_TILES + _PRODUCT + _ATTENTION, "cpu")
    except (ImportError, AttributeError, OSError, CppCompileError, InvalidCxxCompiler):
        return None
    found.product.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 3
    found.causal_attention.argtypes = [ctypes.c_void_p] * 3 + [ctypes.POINTER(ctypes.c_int64)]
    found.causal_attention.argtypes += [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 4
    found.product.restype = found.causal_attention.restype = None
    return found
