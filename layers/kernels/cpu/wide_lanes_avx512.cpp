#include "layers/kernels/cpu/wide_lanes.hpp"

#include <dnnl.h>

namespace sluice::kernels {

bool has_wide_lanes()
{
    static const bool has =
        (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
    return has;
}

} // namespace sluice::kernels
