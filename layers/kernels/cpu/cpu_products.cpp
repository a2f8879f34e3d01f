#include "layers/kernels/cpu_products.hpp"

#include <dnnl.h>

namespace sluice::kernels {

namespace {

struct Instructions {
    dnnl_cpu_isa_t set;
    const char* name;
    bool for_bf16_alone;
};

constexpr Instructions widest_first[] = {
    {dnnl_cpu_isa_avx512_core_amx, "AVX-512 with AMX", true},
    {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with bf16", true},
    {dnnl_cpu_isa_avx512_core, "AVX-512", false},
    {dnnl_cpu_isa_avx2, "AVX2", false},
    {dnnl_cpu_isa_avx, "AVX", false},
    {dnnl_cpu_isa_sse41, "SSE4.1", false},
};

const char* instructions_for(DType operands)
{
    const dnnl_cpu_isa_t there = dnnl_get_effective_cpu_isa();
    for (const auto& [set, name, for_bf16_alone] : widest_first)
        if ((there & set) == set && (!for_bf16_alone || operands == DType::bf16))
            return name;
    return "no vector instructions";
}

} // namespace

std::string cpu_products_by(DType operands)
{
    const dnnl_version_t* const version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch) + " (" + instructions_for(operands) + ")";
}

} // namespace sluice::kernels
