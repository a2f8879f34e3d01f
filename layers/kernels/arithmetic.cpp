#include "layers/kernels/arithmetic.hpp"

#include "core/cuda/gpu.hpp"
#include "layers/kernels/cpu_products.hpp"
#include "layers/kernels/gpu_products.hpp"

#if __has_include(<gnu/libc-version.h>)
#include <gnu/libc-version.h>
#endif

namespace sluice::kernels {

namespace {

/// Of exp, log, sine and cosine on CPUs.
std::string functions_by()
{
#ifdef __GLIBC__
    return std::string("glibc ") + gnu_get_libc_version();
#else
    return "this system's C library";
#endif
}

} // namespace

std::string arithmetic_in_words(const Device& device, DType compute)
{
    if (device.kind == DeviceKind::cuda) {
        const GpuInfo gpu = gpu_info(device.index);
        return gpu.name + " (" + std::to_string(gpu.major) + "." + std::to_string(gpu.minor) +
               ", " + std::to_string(gpu.num_multiprocessors) + " multiprocessors), " +
               gpu_products_by();
    }
    const std::string products =
        compute == DType::f64 ? "reference kernels" : cpu_products_by(compute);
    return products + ", " + functions_by();
}

} // namespace sluice::kernels
