// What of cuDNN's attention needs no GPU. layers/kernels/conformance/attention[gpu,cudnn] has the
// rest.
#include "layers/kernels/cudnn_attention.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::kernels;

BOOST_AUTO_TEST_SUITE(cudnn_attention)

BOOST_AUTO_TEST_CASE(takes_bf16_and_heads_of_64_or_128)
{
    for (const std::int64_t head_dim : {64, 128})
        BOOST_TEST(why_not_cudnn(DType::bf16, {1, 1024, 1, head_dim}).empty());
    for (const std::int64_t head_dim : {1, 32, 63, 80, 256})
        BOOST_TEST(!why_not_cudnn(DType::bf16, {1, 1024, 1, head_dim}).empty());
    BOOST_TEST(why_not_cudnn(DType::f32, {1, 1024, 1, 64}).find("f32") != std::string::npos);
    BOOST_TEST(!why_not_cudnn(DType::bf16, {1, 1, 1, 64}).empty());
}

BOOST_AUTO_TEST_CASE(says_what_is_there_or_why_not)
{
    const std::string why = why_no_cudnn();
    if (!cudnn_is_compiled_in()) {
        BOOST_TEST(why.find("this build") != std::string::npos);
        BOOST_CHECK_THROW(cudnn_version(), UserError);
    } else if (why.empty()) {
        BOOST_TEST(cudnn_version().find('.') != std::string::npos);
    } else {
        BOOST_TEST((why.find("libcud") != std::string::npos || why.find("too old") != why.npos));
    }
}

BOOST_AUTO_TEST_SUITE_END()
