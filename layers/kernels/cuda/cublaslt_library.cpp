#include "layers/kernels/cuda/cublaslt_library.hpp"

#include "core/error.hpp"

#include <dlfcn.h>
#include <string>

namespace sluice::kernels {

namespace {

void* open_library()
{
    // Where the loader looks (LD_LIBRARY_PATH, a module's paths), then where this build found it.
    const std::string name = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    for (const std::string& path : {name, std::string(SLUICE_CUDA_LIBRARY_DIR "/") + name})
        if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL))
            return library;
    const char* reason = dlerror();
    throw usage_error("cannot load " + name + ": " + (reason ? reason : "unknown reason"),
                      "matrix products on the GPU",
                      "install CUDA's cuBLAS, or put its folder into LD_LIBRARY_PATH");
}

CublasLt load()
{
    void* library = open_library();
    CublasLt calls{};
    const auto find = [library]<class Call>(Call& call, const char* name) {
        call = reinterpret_cast<Call>(dlsym(library, name));
        SLUICE_CHECK(call != nullptr, "libcublasLt has no " << name);
    };
    find(calls.get_version, "cublasLtGetVersion");
    find(calls.status_string, "cublasLtGetStatusString");
    find(calls.create, "cublasLtCreate");
    find(calls.destroy, "cublasLtDestroy");
    find(calls.matmul_desc_init, "cublasLtMatmulDescInit_internal");
    find(calls.matmul_desc_set, "cublasLtMatmulDescSetAttribute");
    find(calls.matrix_layout_init, "cublasLtMatrixLayoutInit_internal");
    find(calls.preference_init, "cublasLtMatmulPreferenceInit_internal");
    find(calls.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    find(calls.choose_algorithm, "cublasLtMatmulAlgoGetHeuristic");
    find(calls.matmul, "cublasLtMatmul");
    return calls;
}

} // namespace

const CublasLt& CublasLt::loaded()
{
    static const CublasLt calls = load();
    return calls;
}

} // namespace sluice::kernels
