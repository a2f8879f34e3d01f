// Matrix product with its own alpha and beta, so that the residual gate and the residual add ride
// in it for free: x_next = alpha * (h W^T) + beta * x.
#pragma once

#include "layers/kernels/factor.hpp"
#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

enum class Transpose : bool { no, yes };

/// out = alpha * op(a) op(b) + beta * addend.
///
/// op(a) is [M,K], op(b) is [K,N], out is [M,N]; all row-major. `a` is stored [M,K] (or [K,M] when
/// transposed), `b` is stored [K,N] (or [N,K] when transposed: a weight matrix [out,in] used
/// forward). `addend` [M,N] may be `out` itself (accumulate in place), another tensor (then out is
/// overwritten), or empty, which stands for beta = 0 (overwrite; out's old values are never read).
/// The same shapes give the same bits for any number of threads. a and b are f32 or bf16, out and
/// addend likewise, on the CPU bf16 only with factors of bf16; products add up in f32 and are
/// rounded once. On GPUs no more than 64 different
/// betas may stand beside an alpha in memory, for the library reads both from one place.
struct Matmul {
    TensorView a;
    TensorView b;
    TensorView out;
    TensorView addend{};
    Transpose transpose_a = Transpose::no;
    Transpose transpose_b = Transpose::no;
    Factor alpha{};
    double beta = 1.0;
};

void run(Reference, const Matmul&);
void run(Cpu, const Matmul&);
void run(Cuda, const Matmul&);

} // namespace sluice::kernels
