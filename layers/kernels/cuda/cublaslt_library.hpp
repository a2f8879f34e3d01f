// cuBLASLt, loaded when the first product runs on a GPU: programs that use none start without it
// (loading it takes a tenth of a second, and it need not be there).
#pragma once

#include <cublasLt.h>

namespace sluice::kernels {

/// The calls in use, by their names without the prefix.
struct CublasLt {
    /// Throws UserError (usage) when the library is not found.
    static const CublasLt& loaded();

    decltype(&cublasLtGetVersion) get_version;
    decltype(&cublasLtGetStatusString) status_string;
    decltype(&cublasLtCreate) create;
    decltype(&cublasLtMatmulDescInit_internal) matmul_desc_init;
    decltype(&cublasLtMatmulDescSetAttribute) matmul_desc_set;
    decltype(&cublasLtMatrixLayoutInit_internal) matrix_layout_init;
    decltype(&cublasLtMatmulPreferenceInit_internal) preference_init;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    decltype(&cublasLtMatmulAlgoGetHeuristic) choose_algorithm;
    decltype(&cublasLtMatmul) matmul;
};

} // namespace sluice::kernels
