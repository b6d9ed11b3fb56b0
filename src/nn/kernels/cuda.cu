// Kernels of an encoder on an NVIDIA GPU. They are compiled when a model is loaded, for that model's sizes: `cuda.rs` puts HIDDEN,
// HEADS, FF, EPSILON and BF16 before this text. No header is included, so nothing but NVIDIA's run-time compiler is needed.
//
// A `real` is what products take: a float, or the bits of a bfloat16. Sums, norms, softmax and GELU are f32.

typedef unsigned int u32;
constexpr int HEAD = HIDDEN / HEADS;

#if BF16
typedef unsigned short real;
__device__ inline float wide(real x) { return __uint_as_float((u32)x << 16); }
__device__ inline real narrow(float x) {
    real y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
// The GPU's own tanh (to 2^-11), of an argument by which it is erf(x / sqrt(2)): less wrong than a bfloat16, and a third of erff's work.
__device__ inline float gelu_of(float x) {
    float u = fminf(x * x, 36.0f), y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x * (0.79750757f + u * (0.037005998f - u * 0.0003515864f))));
    return 0.5f * x + 0.5f * x * y;
}
#else
typedef float real;
__device__ inline float wide(real x) { return x; }
__device__ inline real narrow(float x) { return x; }
__device__ inline float gelu_of(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
#endif

__device__ inline float warp_sum(float x) {
    for (int lanes = 16; lanes; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int lanes = 16; lanes; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lanes));
    return x;
}

// A row of WIDTH values in pieces that one thread reads or writes at once: 16 bytes, or one value where the width is odd.
template <int WIDTH> __host__ __device__ constexpr int piece() { return WIDTH % (16 / sizeof(real)) == 0 ? 16 / sizeof(real) : 1; }

template <int N> struct alignas(N * sizeof(real)) Reals { real v[N]; };
template <int N> struct alignas(N % 4 == 0 ? 16 : 4) Floats { float v[N]; };

// One warp holds a row of HIDDEN values in its registers.
struct Row {
    static constexpr int PIECE = piece<HIDDEN>(), PIECES = HIDDEN / PIECE, EACH = (PIECES + 31) / 32;
    float v[EACH][PIECE];

    template <class F> __device__ inline void each(F f) {
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            int at = threadIdx.x % 32 + 32 * e;
            if (at < PIECES) f(v[e], at);
        }
    }
    __device__ inline void clear() {
#pragma unroll
        for (int e = 0; e < EACH; e++)
#pragma unroll
            for (int i = 0; i < PIECE; i++) v[e][i] = 0.0f;
    }
    __device__ inline void add(const real* row) {
        each([&](float* v, int at) {
            Reals<PIECE> more = ((const Reals<PIECE>*)row)[at];
#pragma unroll
            for (int i = 0; i < PIECE; i++) v[i] += wide(more.v[i]);
        });
    }
    __device__ inline void add_floats(const float* row) {
        each([&](float* v, int at) {
            Floats<PIECE> more = ((const Floats<PIECE>*)row)[at];
#pragma unroll
            for (int i = 0; i < PIECE; i++) v[i] += more.v[i];
        });
    }
    // LayerNorm of the row, written to `out`.
    __device__ inline void norm(const float* gamma, const float* beta, real* out) {
        float sum = 0.0f, squares = 0.0f;
        each([&](float* v, int) {
#pragma unroll
            for (int i = 0; i < PIECE; i++) sum += v[i];
        });
        float mean = warp_sum(sum) / HIDDEN;
        each([&](float* v, int) {
#pragma unroll
            for (int i = 0; i < PIECE; i++) squares += (v[i] - mean) * (v[i] - mean);
        });
        float scale = 1.0f / sqrtf(warp_sum(squares) / HIDDEN + EPSILON);
        each([&](float* v, int at) {
            Floats<PIECE> g = ((const Floats<PIECE>*)gamma)[at], b = ((const Floats<PIECE>*)beta)[at];
            Reals<PIECE> y;
#pragma unroll
            for (int i = 0; i < PIECE; i++) y.v[i] = narrow((v[i] - mean) * scale * g.v[i] + b.v[i]);
            ((Reals<PIECE>*)out)[at] = y;
        });
    }
};

// Blocks of row kernels are of four warps.
__device__ inline size_t own_row() { return (size_t)blockIdx.x * 4 + threadIdx.x / 32; }

// LayerNorm of word + segment + position: `out [rows, HIDDEN]`; `ids` are those of words, segments and positions, `[3, rows]`.
extern "C" __global__ void embed(real* out, const u32* ids, const float* words, const float* segments, const float* positions,
                                 const float* gamma, const float* beta, int rows) {
    size_t row = own_row();
    if (row >= rows) return;
    Row x;
    x.clear();
    x.add_floats(words + (size_t)ids[row] * HIDDEN);
    x.add_floats(segments + (size_t)ids[rows + row] * HIDDEN);
    x.add_floats(positions + (size_t)ids[2 * (size_t)rows + row] * HIDDEN);
    x.norm(gamma, beta, out + row * HIDDEN);
}

// LayerNorm of `y + bias + residual`, all `[rows, HIDDEN]` but the bias.
extern "C" __global__ void add_norm(real* out, const real* y, const float* bias, const real* residual, const float* gamma,
                                    const float* beta, int rows) {
    size_t row = own_row();
    if (row >= rows) return;
    Row x;
    x.clear();
    x.add(y + row * HIDDEN);
    x.add_floats(bias);
    x.add(residual + row * HIDDEN);
    x.norm(gamma, beta, out + row * HIDDEN);
}

// The first token's row of each sequence: `[sequences, HIDDEN]`.
extern "C" __global__ void first_rows(real* out, const real* x, const u32* offsets, int sequences) {
    size_t sequence = own_row();
    if (sequence >= sequences) return;
    const Reals<Row::PIECE>* from = (const Reals<Row::PIECE>*)(x + (size_t)offsets[sequence] * HIDDEN);
    Reals<Row::PIECE>* to = (Reals<Row::PIECE>*)(out + sequence * HIDDEN);
    for (int at = threadIdx.x % 32; at < Row::PIECES; at += 32) to[at] = from[at];
}

// `gelu(z + bias)` in place, `[rows, FF]`; `pieces` in all.
extern "C" __global__ void gelu(real* z, const float* bias, u32 pieces) {
    constexpr u32 PIECE = piece<FF>();
    u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= pieces) return;
    Reals<PIECE> x = ((Reals<PIECE>*)z)[at];
    Floats<PIECE> b = ((const Floats<PIECE>*)bias)[at % (FF / PIECE)];
#pragma unroll
    for (int i = 0; i < PIECE; i++) {
        x.v[i] = narrow(gelu_of(wide(x.v[i]) + b.v[i]));
    }
    ((Reals<PIECE>*)z)[at] = x;
}

// `n` values as floats.
extern "C" __global__ void widen(float* out, const real* x, u32 n) {
    u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < n) out[at] = wide(x[at]);
}

// Attention over packed sequences, softmax on the way (Dao et al., NeurIPS 2022): `softmax((q + bias_q) k^T / sqrt(d)) v + bias_v`.
// A key's bias would move all scores of a query alike, so it is left out; a value's passes through, since probabilities sum to 1.
// Rows of q are `q_stride` apart, those of k and v `kv_stride`; `first`: q holds one row per sequence, its first token's.
// Grid: sequence, head, tile of queries.
struct Share {
    int begin, length, queries, tile, column;
    size_t query_row;
    __device__ inline Share(const u32* offsets, int first, int tile_size) {
        begin = offsets[blockIdx.x];
        length = offsets[blockIdx.x + 1] - begin;
        queries = first ? 1 : length;
        tile = blockIdx.z * tile_size;
        column = blockIdx.y * HEAD;
        query_row = first ? blockIdx.x : begin;
    }
};

#if BF16 && HIDDEN / HEADS % 16 == 0

__device__ inline u32 pair(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// c [16, 8] += a [16, 16] b [16, 8]: lane 4g + i holds c of rows g, g + 8 and columns 2i, 2i + 1.
__device__ inline void multiply(float* c, const u32* a, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Tiles of 64 queries, 16 for each of four warps, against tiles of 64 keys.
extern "C" __global__ void __launch_bounds__(128) attention(real* out, const real* q, int q_stride, const real* k, const real* v,
                                                            int kv_stride, const float* bias_q, const float* bias_v,
                                                            const u32* offsets, int first) {
    constexpr int KEYS = 64, PITCH = HEAD + 8, PIECES = HEAD / 8; // the pitch keeps a warp's reads in different banks
    __shared__ alignas(16) real keys[KEYS * PITCH], values[KEYS * PITCH];
    Share s(offsets, first, 64);
    if (s.tile >= s.queries) return;
    int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4 * 2;
    int row = s.tile + threadIdx.x / 32 * 16 + g; // and row + 8
    bool busy = row - g < s.queries;

    u32 query[HEAD / 16][4];
#pragma unroll
    for (int t = 0; t < HEAD / 16; t++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int r = row + i % 2 * 8, column = s.column + t * 16 + c + i / 2 * 8;
            query[t][i] = 0;
            if (r < s.queries) {
                u32 both = *(const u32*)(q + (s.query_row + r) * q_stride + column);
                query[t][i] = pair(wide((real)both) + bias_q[column], wide((real)(both >> 16)) + bias_q[column + 1]);
            }
        }

    const float scale = rsqrtf((float)HEAD) * 1.44269504f;
    float sums[2] = {0.0f, 0.0f}, greatest[2] = {-INFINITY, -INFINITY}, o[HEAD / 8][4];
#pragma unroll
    for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) o[n][i] = 0.0f;

    for (int key = 0; key < s.length; key += KEYS) {
        int left = min(s.length - key, KEYS);
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * PIECES; at += 128) {
            int r = at / PIECES, p = at % PIECES * 8;
            uint4 a = make_uint4(0, 0, 0, 0), b = a;
            if (r < left) {
                size_t from = (size_t)(s.begin + key + r) * kv_stride + s.column + p;
                a = *(const uint4*)(k + from);
                b = *(const uint4*)(v + from);
            }
            *(uint4*)(keys + r * PITCH + p) = a;
            *(uint4*)(values + r * PITCH + p) = b;
        }
        __syncthreads();
        if (!busy) continue;

        float p[KEYS / 8][4], tops[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) p[n][i] = 0.0f;
            if (n * 8 < left) {
#pragma unroll
                for (int t = 0; t < HEAD / 16; t++) {
                    const real* b = keys + (n * 8 + g) * PITCH + t * 16 + c;
                    multiply(p[n], query[t], *(const u32*)b, *(const u32*)(b + 8));
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                p[n][i] = n * 8 + c + i % 2 < left ? p[n][i] * scale : -INFINITY;
                tops[i / 2] = fmaxf(tops[i / 2], p[n][i]);
            }
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            tops[i] = fmaxf(tops[i], __shfl_xor_sync(~0u, tops[i], 1));
            tops[i] = fmaxf(tops[i], __shfl_xor_sync(~0u, tops[i], 2));
            tops[i] = fmaxf(tops[i], greatest[i]);
            float fade = exp2_fast(greatest[i] - tops[i]);
            greatest[i] = tops[i];
            sums[i] *= fade;
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++) o[n][2 * i] *= fade, o[n][2 * i + 1] *= fade;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                p[n][i] = exp2_fast(p[n][i] - greatest[i / 2]);
                sums[i / 2] += p[n][i];
            }
#pragma unroll
        for (int t = 0; t < KEYS / 16; t++) {
            if (t * 16 >= left) break;
            u32 a[4] = {pair(p[2 * t][0], p[2 * t][1]), pair(p[2 * t][2], p[2 * t][3]), pair(p[2 * t + 1][0], p[2 * t + 1][1]),
                        pair(p[2 * t + 1][2], p[2 * t + 1][3])};
#pragma unroll
            for (int n = 0; n < HEAD / 8; n += 2) {
                // four 8 x 8 blocks, turned: keys 0-7 and 8-15 of two columns of blocks
                const real* from = values + (t * 16 + lane % 16) * PITCH + n * 8 + lane / 16 * 8;
                u32 b[4];
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                             : "r"((u32)__cvta_generic_to_shared(from))
                             : "memory");
                multiply(o[n], a, b[0], b[1]);
                multiply(o[n + 1], a, b[2], b[3]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sums[i] += __shfl_xor_sync(~0u, sums[i], 1);
        sums[i] += __shfl_xor_sync(~0u, sums[i], 2);
        if (row + 8 * i >= s.queries) continue;
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            int column = s.column + n * 8 + c;
            float low = o[n][2 * i] / sums[i] + bias_v[column], high = o[n][2 * i + 1] / sums[i] + bias_v[column + 1];
            *(u32*)(out + (s.query_row + row + 8 * i) * HIDDEN + column) = pair(low, high);
        }
    }
}

#else

// Tiles of 16 queries, 4 for each of four warps, against tiles of 32 keys, one for each lane.
extern "C" __global__ void __launch_bounds__(128) attention(real* out, const real* q, int q_stride, const real* k, const real* v,
                                                            int kv_stride, const float* bias_q, const float* bias_v,
                                                            const u32* offsets, int first) {
    constexpr int EACH = (HEAD + 31) / 32, STEP = HEAD % 4 == 0 ? 4 : 1; // values of a head that are read at once
    typedef Floats<STEP> Part;
    __shared__ alignas(16) float keys[32][HEAD + STEP], values[32][HEAD + STEP], queries[16][HEAD], weights[16][32];
    Share s(offsets, first, 16);
    if (s.tile >= s.queries) return;
    int lane = threadIdx.x % 32, own = threadIdx.x / 32 * 4;
    bool busy = s.tile + own < s.queries;
    const float scale = 1.0f / sqrtf((float)HEAD);
    for (int at = threadIdx.x; at < 16 * HEAD; at += 128) {
        int r = at / HEAD, column = s.column + at % HEAD;
        float x = 0.0f;
        if (s.tile + r < s.queries) x = (wide(q[(s.query_row + s.tile + r) * q_stride + column]) + bias_q[column]) * scale;
        queries[r][at % HEAD] = x;
    }
    float sums[4], greatest[4], o[4][EACH];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        sums[j] = 0.0f, greatest[j] = -INFINITY;
#pragma unroll
        for (int e = 0; e < EACH; e++) o[j][e] = 0.0f;
    }
    for (int key = 0; key < s.length; key += 32) {
        int left = min(s.length - key, 32);
        __syncthreads();
        for (int at = threadIdx.x; at < 32 * HEAD; at += 128) {
            int r = at / HEAD, column = at % HEAD;
            size_t from = (size_t)(s.begin + key + r) * kv_stride + s.column + column;
            keys[r][column] = r < left ? wide(k[from]) : 0.0f;
            values[r][column] = r < left ? wide(v[from]) : 0.0f;
        }
        __syncthreads();
        if (!busy) continue;
        float scores[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
        for (int d = 0; d < HEAD; d += STEP) {
            Part a = *(const Part*)&keys[lane][d];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                Part b = *(const Part*)&queries[own + j][d];
#pragma unroll
                for (int i = 0; i < STEP; i++) scores[j] += a.v[i] * b.v[i];
            }
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float score = lane < left ? scores[j] : -INFINITY;
            float top = fmaxf(greatest[j], warp_max(score)), fade = expf(greatest[j] - top), p = expf(score - top);
            greatest[j] = top;
            sums[j] = sums[j] * fade + warp_sum(p);
            weights[own + j][lane] = p;
#pragma unroll
            for (int e = 0; e < EACH; e++) o[j][e] *= fade;
        }
        __syncwarp();
#pragma unroll 2
        for (int other = 0; other < 32; other += 4) {
            Floats<4> p[4];
#pragma unroll
            for (int j = 0; j < 4; j++) p[j] = *(const Floats<4>*)&weights[own + j][other];
#pragma unroll
            for (int e = 0; e < EACH; e++)
                if (HEAD % 32 == 0 || lane + 32 * e < HEAD) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        float value = values[other + i][lane + 32 * e];
#pragma unroll
                        for (int j = 0; j < 4; j++) o[j][e] += p[j].v[i] * value;
                    }
                }
        }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        int row = s.tile + own + j;
        if (row >= s.queries) break;
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            int column = s.column + lane + 32 * e;
            if (lane + 32 * e < HEAD) out[(s.query_row + row) * HIDDEN + column] = narrow(o[j][e] / sums[j] + bias_v[column]);
        }
    }
}

#endif
