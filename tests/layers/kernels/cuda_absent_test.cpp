#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/matmul.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

constexpr Stream cuda{.backend = Backend::cuda};

bool says_what_to_do(const UserError& error)
{
    return error.code() == ExitCode::usage && error.remedy().find("\"cpu\"") != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(cuda_absent)

BOOST_AUTO_TEST_CASE(cuda_kernels_refuse_in_words)
{
    BOOST_CHECK_EXCEPTION(kernels::launch(cuda, kernels::Matmul{}), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(kernels::launch(cuda, kernels::Fill{}), UserError, says_what_to_do);
}

BOOST_AUTO_TEST_SUITE_END()
