#define PANEL 16

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

constexpr int64_t WIDTH = PANEL;

// As many numbers as a register holds, and tiles that fill the registers.
#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
constexpr int ROWS = 8, PANELS = 2;
#else
constexpr int64_t LANES = 8;
constexpr int ROWS = 4, PANELS = 1;
#endif
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// Products that are summed before they are added to the result.
constexpr int64_t SUMMED = 128;
// How far ahead of their use panels are asked for, in rows of them.
constexpr int64_t AHEAD = 24;

static inline Vector& vector(float* at) { return *reinterpret_cast<Vector*>(at); }
static inline const Vector& vector(const float* at) { return *reinterpret_cast<const Vector*>(at); }

// y [ROWS, out] = x [ROWS, in] times PANELS panels [in, WIDTH], `apart` rows apart, plus a bias that may be null
template <int ROWS, int PANELS>
static inline void tile(
    const float* x, const float* panels, int64_t apart, const float* bias, float* y, int64_t in, int64_t out) {
    constexpr int PARTS = WIDTH / LANES, COLUMNS = PANELS * PARTS;
    for (int64_t first = 0; first < in; first += SUMMED) {
        Vector sum[ROWS][COLUMNS] = {};
        for (int64_t k = first; k < std::min(first + SUMMED, in); ++k) {
            Vector part[COLUMNS];
            for (int c = 0; c < COLUMNS; ++c) {
                const float* at = panels + (c / PARTS * apart + k) * WIDTH + c % PARTS * LANES;
                __builtin_prefetch(at + AHEAD * WIDTH);
                part[c] = vector(at);
            }
            for (int r = 0; r < ROWS; ++r)
                for (int c = 0; c < COLUMNS; ++c) sum[r][c] += x[r * in + k] * part[c];
        }
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < COLUMNS; ++c) {
                Vector& to = vector(y + r * out + c * LANES);
                if (first) to += sum[r][c];
                else if (bias) to = sum[r][c] + vector(bias + c * LANES);
                else to = sum[r][c];
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

// The exponential of numbers up to 0, as in Cephes: a power of two times a polynomial. Not a number stays so.
static inline Vector exponential(Vector x) {
    const Vector least = Vector{} - 87.0f;
    x = x < least ? least : x;
    const Vector shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the integer is in the last bits
    const Vector whole = shifted - 12582912.0f;
    const Vector rest = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
    Vector sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    const Bits power = ((Bits)shifted << 23) + 0x3f800000;
    return (sum * rest * rest + rest + 1.0f) * (Vector)power;
}

// Scores of `count` keys of which the first `seen` count, in place: exponentials. Returns their sum.
static inline float exponentials(float* scores, int64_t seen, int64_t count) {
    std::fill(scores + seen, scores + count, -INFINITY);
    Vector most = vector(scores), sum = {};
    for (int64_t k = LANES; k < count; k += LANES) most = vector(scores + k) > most ? vector(scores + k) : most;
    float largest = most[0], total = 0;
    for (int l = 1; l < LANES; ++l) largest = most[l] > largest ? most[l] : largest;
    for (int64_t k = 0; k < count; k += LANES) sum += vector(scores + k) = exponential(vector(scores + k) - largest);
    std::fill(scores + seen, scores + count, 0.0f);
    for (int l = 0; l < LANES; ++l) total += sum[l];
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
