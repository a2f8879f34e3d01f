// How every operation is called: fill the operation's struct (its header is the contract) and
// launch it on a stream.
//
//     launch(stream, RmsNormForward{.x = x, .weight = w, .y = y, .rstd = rstd});
//
// Each operation `Op` has one header here (shapes, units, what is overwritten and what is
// accumulated) and one file with the same stem per backend: reference/ (float64, naive, the
// readable oracle), cpu/ and cuda/
// (float32 and bfloat16; arithmetic in float32). A backend that is not compiled in is replaced at
// link time by cuda/*_absent.cpp, which throws. The backend is the first argument's type.
//
// Rules for every backend: outputs depend only on the inputs, never on the number of threads or on
// alignment; nothing is allocated by our own code; empty views mean "not wanted".
#pragma once

#include "core/device.hpp"
#include "core/error.hpp"
#include "core/tensor_view.hpp"

namespace sluice::kernels {

struct Reference {};
struct Cpu {};
struct Cuda {
    const Stream& stream;
};

template <class Op>
void launch(const Stream& stream, const Op& op)
{
    switch (stream.backend) {
    case Backend::reference: run(Reference{}, op); return;
    case Backend::cpu: run(Cpu{}, op); return;
    case Backend::cuda: run(Cuda{stream}, op); return;
    }
    SLUICE_CHECK(false, "backend " << static_cast<int>(stream.backend));
}

} // namespace sluice::kernels
