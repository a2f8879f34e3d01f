#include "layers/model_spec.hpp"

#include "layers/parameter.hpp"
#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

ModelSpec llama(std::int64_t layers, std::int64_t hidden, std::int64_t mlp, std::int64_t heads)
{
    ModelSpec spec;
    spec.vocab_size = 32000;
    spec.hidden_size = hidden;
    spec.intermediate_size = mlp;
    spec.num_layers = layers;
    spec.num_heads = heads;
    return spec;
}

BOOST_AUTO_TEST_SUITE(model_spec)

BOOST_AUTO_TEST_CASE(sizes_and_flops_are_those_of_the_paper_models)
{
    struct Row {
        ModelSpec spec;
        double millions, gflop_per_token;
    };
    const Row rows[] = {
        {llama(12, 512, 1368, 8), 70.6, 0.363},    {llama(48, 512, 1368, 8), 184, 1.156},
        {llama(120, 512, 1368, 8), 411, 2.744},    {llama(12, 768, 2048, 12), 134, 0.714},
        {llama(24, 1024, 2736, 16), 368, 2.162},   {llama(24, 2048, 5632, 32), 1364, 8.094},
        {llama(32, 4096, 11008, 32), 6738, 40.45},
    };
    for (const Row& row : rows) {
        const double millions = static_cast<double>(num_parameters(row.spec)) / 1e6;
        const double gflop = flops_per_token(row.spec, 1024) / 1e9;
        BOOST_CHECK_MESSAGE(std::abs(millions - row.millions) < (row.millions < 100 ? 0.05 : 0.5),
                            millions << " M parameters, expected " << row.millions);
        BOOST_CHECK_MESSAGE(std::abs(gflop - row.gflop_per_token) <
                                (row.gflop_per_token < 10 ? 0.0006 : 0.006),
                            gflop << " GFLOP, expected " << row.gflop_per_token);
    }
}

BOOST_AUTO_TEST_CASE(the_count_is_the_sum_over_all_parameters)
{
    for (const testing::Variant& variant : testing::all_variants) {
        const ModelSpec spec = testing::small_model(variant);
        std::int64_t sum = 0;
        for (const ParameterSpec& parameter : parameters_of(spec))
            sum += parameter.shape.num_elements();
        BOOST_CHECK_EQUAL(num_parameters(spec), sum);
    }
}

BOOST_AUTO_TEST_CASE(names_are_those_of_run_files)
{
    BOOST_CHECK_EQUAL(name_of(Arrangement::pre), "pre");
    BOOST_CHECK_EQUAL(name_of(Arrangement::post), "post");
    BOOST_CHECK_EQUAL(name_of(Arrangement::sandwich), "sandwich");
    BOOST_CHECK_EQUAL(name_of(Arrangement::deepnorm), "deepnorm");
    BOOST_CHECK_EQUAL(name_of(Arrangement::lns), "lns");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
