#include "layers/kernels/arithmetic.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(arithmetic)

BOOST_AUTO_TEST_CASE(on_cpus_it_names_what_multiplies_and_what_computes_functions)
{
    const auto of = [](DType compute) { return kernels::arithmetic_in_words(Device{}, compute); };
    for (const DType compute : {DType::f32, DType::bf16}) {
        BOOST_TEST(of(compute).starts_with("oneDNN "), of(compute));
        BOOST_TEST(of(compute).find("), glibc 2.") != std::string::npos, of(compute));
    }
    BOOST_TEST(of(DType::f64).starts_with("reference kernels, glibc 2."), of(DType::f64));
}

BOOST_AUTO_TEST_CASE(instructions_for_bf16_alone_do_not_tell_processors_apart_in_fp32)
{
    const std::string text = kernels::arithmetic_in_words(Device{}, DType::f32);
    BOOST_TEST(text.find("bf16") == std::string::npos, text);
    BOOST_TEST(text.find("AMX") == std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
