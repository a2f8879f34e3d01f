// Gradients of whole chunks against central differences, in float64.
#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

using testing::mixed_gates;
using testing::Variant;

BOOST_AUTO_TEST_SUITE(model_chunk_gradient, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(every_parameter_of_every_arrangement)
{
    for (const Variant& variant : testing::all_variants) {
        ModelChunk chunk(testing::whole_model(testing::small_model(variant)));
        testing::fill_parameters(chunk);
        testing::fill_micro_batch(chunk, 0, 0);
        const double loss_scale = 0.1;
        const auto loss = [&] {
            chunk.forward(0, mixed_gates);
            chunk.evaluate(0);
            return loss_scale * chunk.loss_sum();
        };
        chunk.forward(0, mixed_gates);
        chunk.backward(0, 0, mixed_gates, loss_scale);
        for (const Parameter& parameter : chunk.parameters()) {
            // Norms that the residual stream itself passes keep working behind a closed gate.
            const bool on_stream =
                parameter.spec.shape.rank() == 1 && (variant.arrangement == Arrangement::post ||
                                                     variant.arrangement == Arrangement::deepnorm);
            BOOST_CHECK_MESSAGE(testing::all_zero(parameter.gradient) ==
                                    (parameter.spec.layer == 2 && !on_stream),
                                variant.name() << " " << parameter.spec.name);
            testing::check_gradient(variant.name() + " " + parameter.spec.name, parameter.value,
                                    parameter.gradient, loss);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_input_of_a_chunk_without_embedding_and_head)
{
    for (const Variant& variant : testing::all_variants) {
        ModelChunkOptions options = testing::whole_model(testing::small_model(variant));
        options.range = {.begin = 1, .end = 4, .embedding = false, .head = false};
        ModelChunk chunk(options);
        testing::fill_parameters(chunk);
        testing::Owned x({10, 8}, "x"), dy({10, 8}, "dy");
        const std::vector<double> alphas = {0.3, 0.0, 1.0};
        const auto value = [&] {
            std::copy(x.numbers().begin(), x.numbers().end(), chunk.input(0).as<double>());
            chunk.forward(0, alphas);
            return testing::dot(chunk.output(0), dy.view());
        };
        value();
        std::copy(dy.numbers().begin(), dy.numbers().end(), chunk.output_gradient(0).as<double>());
        chunk.backward(0, 0, alphas, 1.0);
        testing::check_gradient(variant.name() + " input", x.view(), chunk.input_gradient(0), value,
                                20);
        for (const Parameter& parameter : chunk.parameters())
            testing::check_gradient(variant.name() + " " + parameter.spec.name, parameter.value,
                                    parameter.gradient, value, 2);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
