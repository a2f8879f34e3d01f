#include "layers/kernels/cuda/cublaslt_library.hpp"

#include "layers/kernels/gpu_products.hpp"

#include <boost/test/unit_test.hpp>

using sluice::kernels::CublasLt;

BOOST_AUTO_TEST_SUITE(cublaslt_library)

BOOST_AUTO_TEST_CASE(is_the_one_this_was_compiled_for)
{
    // Also without a GPU: every call in use is found.
    BOOST_TEST(CublasLt::loaded().get_version() / 10000 == CUBLAS_VER_MAJOR);
    BOOST_TEST(sluice::kernels::why_no_gpu_products() == "");
    BOOST_TEST(sluice::kernels::gpu_products_by().starts_with(
        "cuBLASLt " + std::to_string(CUBLAS_VER_MAJOR) + "."));
}

BOOST_AUTO_TEST_CASE(takes_descriptions_of_matrices)
{
    // out^T = b^T a^T for rows: these calls need no GPU, and refuse what does not fit together.
    const CublasLt& cublas = CublasLt::loaded();
    cublasLtMatrixLayoutOpaque_t layout{};
    BOOST_TEST(cublas.matrix_layout_init(&layout, sizeof layout, CUDA_R_16BF, 512, 64, 512) ==
               CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulDescOpaque_t product{};
    BOOST_TEST(cublas.matmul_desc_init(&product, sizeof product, CUBLAS_COMPUTE_32F, CUDA_R_32F) ==
               CUBLAS_STATUS_SUCCESS);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    BOOST_TEST(cublas.matmul_desc_set(&product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                      sizeof transposed) == CUBLAS_STATUS_SUCCESS);
}

BOOST_AUTO_TEST_SUITE_END()
