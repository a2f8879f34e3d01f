// Copies and sums that no other operation could take along.
#pragma once

#include "layers/kernels/launch.hpp"

namespace sluice::kernels {

/// Both of one type; on the CPU also f32 to bf16, rounded, or back.
struct Copy {
    TensorView from; ///< any shape, in
    TensorView to;   ///< equally many elements, overwritten
};

struct Fill {
    TensorView to; ///< any shape, overwritten
    double value = 0.0;
};

/// y = factor * x
struct Scale {
    TensorView x; ///< any shape, in; may be `y` itself
    TensorView y; ///< equally many elements, overwritten
    double factor = 1.0;
};

/// y += x
struct Add {
    TensorView x; ///< any shape, in
    TensorView y; ///< equally many elements, ACCUMULATED
};

void run(Reference, const Copy&);
void run(Cpu, const Copy&);
void run(Cuda, const Copy&);
void run(Reference, const Fill&);
void run(Cpu, const Fill&);
void run(Cuda, const Fill&);
void run(Reference, const Scale&);
void run(Cpu, const Scale&);
void run(Cuda, const Scale&);
void run(Reference, const Add&);
void run(Cpu, const Add&);
void run(Cuda, const Add&);

} // namespace sluice::kernels
