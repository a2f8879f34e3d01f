#include "layers/kernels/cuda/cudnn/cudnn_library.hpp"

#include "core/shared_library.hpp"

#include <algorithm>
#include <cstdlib>
#include <cuda_runtime_api.h>
#include <cudnn_version.h>

namespace sluice::kernels {

namespace {

constexpr const char* asked_by = "precision.attention = \"cudnn\"";
constexpr std::size_t oldest = 90600; // before it plans leave memory for others to clear

} // namespace

CudnnLibrary::CudnnLibrary()
{
    const std::string runtime_name = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
    const SharedLibrary runtime(runtime_name, SLUICE_CUDA_LIBRARY_DIR, asked_by,
                                "install CUDA's runtime library, put its folder into "
                                "LD_LIBRARY_PATH, or write attention = \"own\"");
    // Or the frontend would look for other versions first, and take one that is there.
    setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime_name.c_str(), 0);
    const SharedLibrary cudnn("libcudnn.so." + std::to_string(CUDNN_MAJOR),
                              SLUICE_CUDNN_LIBRARY_DIR, asked_by,
                              "install NVIDIA cuDNN, put its folder into LD_LIBRARY_PATH, or write "
                              "attention = \"own\"");
    std::size_t (*get_version)() = nullptr;
    cudnn.find(get_version, "cudnnGetVersion");
    handle_ = cudnn.handle();
    version_ = get_version();
    if (version_ < oldest)
        throw usage_error("cuDNN " + cudnn_version_text(version_) + " is too old", asked_by,
                          "use cuDNN " + cudnn_version_text(oldest) +
                              " or later, or write attention = \"own\"");
}

const CudnnLibrary& CudnnLibrary::loaded()
{
    static const CudnnLibrary library;
    return library;
}

std::string cudnn_version_text(std::size_t version)
{
    return std::to_string(version / 10000) + '.' + std::to_string(version / 100 % 100) + '.' +
           std::to_string(version % 100);
}

std::string cudnn_line(std::string text)
{
    constexpr std::size_t longest = 600;
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

UserError cudnn_refuses(const std::string& what, const std::string& why)
{
    return usage_error("cuDNN " + cudnn_version_text(CudnnLibrary::loaded().version()) +
                           " cannot do " + what + ": " + cudnn_line(why),
                       "precision.attention", "write attention = \"own\"");
}

} // namespace sluice::kernels
