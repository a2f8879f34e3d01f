#include "layers/kernels/cuda/cublaslt_library.hpp"

#include "core/shared_library.hpp"
#include "layers/kernels/gpu_products.hpp"

#include <string>

namespace sluice::kernels {

namespace {

CublasLt load()
{
    const SharedLibrary library("libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR),
                                SLUICE_CUDA_LIBRARY_DIR, "matrix products on the GPU",
                                "install CUDA's cuBLAS, or put its folder into LD_LIBRARY_PATH");
    CublasLt calls{};
    library.find(calls.get_version, "cublasLtGetVersion");
    library.find(calls.status_string, "cublasLtGetStatusString");
    library.find(calls.create, "cublasLtCreate");
    library.find(calls.matmul_desc_init, "cublasLtMatmulDescInit_internal");
    library.find(calls.matmul_desc_set, "cublasLtMatmulDescSetAttribute");
    library.find(calls.matrix_layout_init, "cublasLtMatrixLayoutInit_internal");
    library.find(calls.preference_init, "cublasLtMatmulPreferenceInit_internal");
    library.find(calls.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    library.find(calls.choose_algorithm, "cublasLtMatmulAlgoGetHeuristic");
    library.find(calls.matmul, "cublasLtMatmul");
    return calls;
}

} // namespace

const CublasLt& CublasLt::loaded()
{
    static const CublasLt calls = load();
    return calls;
}

std::string why_no_gpu_products()
{
    try {
        CublasLt::loaded();
        return {};
    } catch (const UserError& error) {
        return error.problem();
    }
}

std::string gpu_products_by()
{
    const std::size_t version = CublasLt::loaded().get_version();
    return "cuBLASLt " + std::to_string(version / 10000) + "." +
           std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
}

} // namespace sluice::kernels
