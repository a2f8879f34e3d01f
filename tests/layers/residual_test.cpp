#include "layers/residual.hpp"

#include "tests/layers/layer_fixture.hpp"

#include <algorithm>

namespace sluice {
namespace {

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

constexpr std::int64_t n = 3, c = 4;

/// A branch whose sub-layer before the projection is h = u, so F(u) = u W^T.
struct SmallBranch {
    explicit SmallBranch(Arrangement arrangement)
    {
        const bool input = arrangement == Arrangement::pre || arrangement == Arrangement::lns ||
                           arrangement == Arrangement::sandwich;
        const bool output = arrangement != Arrangement::pre && arrangement != Arrangement::lns;
        residual.arrangement = arrangement;
        residual.projection = w.weight();
        if (input)
            residual.input_norm = {.weight = in_norm.weight(), .scale = 0.5, .eps = 1e-5};
        if (output)
            residual.output_norm = {.weight = out_norm.weight(), .scale = 1.0, .eps = 1e-5};
        if (arrangement == Arrangement::deepnorm)
            residual.skip = 1.7;
        activations = {.x = x.view(),
                       .u = input ? u.view() : x.view(),
                       .input_rstd = in_rstd.view(),
                       .projected = output ? projected.view() : y.view(),
                       .projected_rstd = out_rstd.view(),
                       .y = y.view()};
        gradients = {.y = dy.view(), .u = input ? du.view() : dx.view(), .x = dx.view()};
    }
    void forward(double alpha)
    {
        residual.forward_in(reference_stream, activations);
        residual.forward_out(reference_stream, activations, activations.u, alpha);
    }
    void backward(double alpha)
    {
        Owned dh({n, c});
        residual.backward_out(reference_stream, activations, gradients, dh.view(), alpha);
        residual.backward_weight(reference_stream, activations, gradients, activations.u, alpha);
        const Addend addend = residual.input_addend(activations); // what a sub-layer has to do
        for (std::int64_t i = 0; i < n * c; ++i)
            gradients.u.as<double>()[i] =
                dh[static_cast<std::size_t>(i)] +
                (addend.tensor.empty() ? 0.0 : addend.factor * addend.tensor.as<double>()[i]);
        residual.backward_in(reference_stream, activations, gradients);
    }

    OwnedWeight w{{c, c}, "w"}, in_norm{{c}, "in", 0.3, 1.0}, out_norm{{c}, "out", 0.3, 1.0};
    Owned x{{n, c}, "x"}, u{{n, c}}, in_rstd{{n}}, projected{{n, c}}, out_rstd{{n}}, y{{n, c}};
    Owned dy{{n, c}, "dy"}, du{{n, c}}, dx{{n, c}};
    Residual residual;
    ResidualActivations activations;
    ResidualGradients gradients;
};

const Arrangement all[] = {Arrangement::pre, Arrangement::post, Arrangement::sandwich,
                           Arrangement::deepnorm, Arrangement::lns};

std::vector<double> norm(const std::vector<double>& x, const Owned& weight, double factor)
{
    std::vector<double> y(x.size());
    for (std::size_t row = 0; row < x.size(); row += c) {
        double sum = 0.0;
        for (std::size_t i = 0; i < c; ++i)
            sum += x[row + i] * x[row + i];
        for (std::size_t i = 0; i < c; ++i)
            y[row + i] = factor * weight[i] * x[row + i] / std::sqrt(sum / c + 1e-5);
    }
    return y;
}

std::vector<double> product(const std::vector<double>& x, const Owned& w)
{
    std::vector<double> y(x.size(), 0.0);
    for (std::size_t row = 0; row < x.size(); row += c)
        for (std::size_t o = 0; o < c; ++o)
            for (std::size_t i = 0; i < c; ++i)
                y[row + o] += x[row + i] * w[o * c + i];
    return y;
}

std::vector<double> sum(double a, const std::vector<double>& x, double b,
                        const std::vector<double>& y)
{
    std::vector<double> z(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        z[i] = a * x[i] + b * y[i];
    return z;
}

/// The equations of the paper's table.
std::vector<double> expected(SmallBranch& branch, double alpha)
{
    const auto& x = branch.x.numbers();
    const auto f = [&](const std::vector<double>& u) { return product(u, branch.w.value); };
    const auto input = norm(x, branch.in_norm.value, 0.5);
    switch (branch.residual.arrangement) {
    case Arrangement::pre:
    case Arrangement::lns: return sum(1.0, x, alpha, f(input));
    case Arrangement::post:
    case Arrangement::deepnorm:
        return norm(sum(branch.residual.skip, x, alpha, f(x)), branch.out_norm.value, 1.0);
    case Arrangement::sandwich:
        return sum(1.0, x, alpha, norm(f(input), branch.out_norm.value, 1.0));
    }
    return {};
}

BOOST_AUTO_TEST_SUITE(residual)

BOOST_AUTO_TEST_CASE(forward_is_the_equation_of_each_arrangement)
{
    for (const Arrangement arrangement : all)
        for (const double alpha : {1.0, 0.3}) {
            SmallBranch branch(arrangement);
            branch.forward(alpha);
            const auto want = expected(branch, alpha);
            for (std::size_t i = 0; i < want.size(); ++i)
                BOOST_CHECK_MESSAGE(std::abs(branch.y[i] - want[i]) < 1e-13,
                                    name_of(arrangement) << " " << alpha << " [" << i << "]: "
                                                         << branch.y[i] << ", not " << want[i]);
        }
}

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences)
{
    for (const Arrangement arrangement : all)
        for (const double alpha : {1.0, 0.3}) {
            SmallBranch branch(arrangement);
            const auto value = [&] {
                branch.forward(alpha);
                return testing::dot(branch.y.view(), branch.dy.view());
            };
            value();
            branch.backward(alpha);
            const std::string name(name_of(arrangement));
            const auto check = [&](const char* what, Owned& x, Owned& gradient) {
                testing::check_gradient(name + " " + what, x.view(), gradient.view(), value, 16);
            };
            check("x", branch.x, branch.dx);
            check("projection", branch.w.value, branch.w.gradient);
            if (branch.residual.input_norm.exists())
                check("input norm", branch.in_norm.value, branch.in_norm.gradient);
            if (branch.residual.output_norm.exists())
                check("output norm", branch.out_norm.value, branch.out_norm.gradient);
        }
}

BOOST_AUTO_TEST_CASE(the_gradient_of_x_may_lie_on_dead_memory)
{
    for (const Arrangement arrangement : all)
        for (const bool closed : {false, true}) {
            SmallBranch apart(arrangement), onto(arrangement);
            if (norms_input(arrangement))
                onto.gradients.x = onto.x.view();
            else
                onto.gradients.x = onto.gradients.u = onto.dy.view();
            for (SmallBranch* branch : {&apart, &onto}) {
                branch->forward(closed ? 0.0 : 0.3);
                if (closed)
                    branch->residual.backward_closed(reference_stream, branch->activations,
                                                     branch->gradients);
                else
                    branch->backward(0.3);
            }
            BOOST_TEST_CONTEXT(name_of(arrangement))
            {
                BOOST_CHECK(testing::same_bits(onto.gradients.x, apart.dx.view()));
                for (const auto member :
                     {&SmallBranch::w, &SmallBranch::in_norm, &SmallBranch::out_norm})
                    BOOST_CHECK(testing::same_bits((onto.*member).gradient.view(),
                                                   (apart.*member).gradient.view()));
            }
        }
}

BOOST_AUTO_TEST_CASE(a_closed_branch_is_exactly_one_multiplied_by_zero)
{
    for (const Arrangement arrangement : all) {
        SmallBranch multiplied(arrangement), closed(arrangement);
        multiplied.forward(0.0);
        multiplied.backward(0.0);
        closed.residual.forward_closed(reference_stream, closed.activations);
        closed.residual.backward_closed(reference_stream, closed.activations, closed.gradients);
        const auto same = [&](Owned& a, Owned& b) {
            BOOST_TEST(a.numbers() == b.numbers(), boost::test_tools::per_element());
        };
        BOOST_TEST_CONTEXT(name_of(arrangement))
        {
            same(multiplied.y, closed.y);
            same(multiplied.dx, closed.dx);
            same(multiplied.w.gradient, closed.w.gradient);
            same(multiplied.in_norm.gradient, closed.in_norm.gradient);
            same(multiplied.out_norm.gradient, closed.out_norm.gradient);
            BOOST_CHECK(testing::all_zero(closed.w.gradient.view()));
            BOOST_CHECK(testing::all_zero(closed.in_norm.gradient.view()));
        }
    }
}

BOOST_AUTO_TEST_CASE(factors_are_those_of_deepnorm_and_lns)
{
    ModelSpec spec = testing::small_model({Arrangement::deepnorm}); // L = 4
    BOOST_CHECK_SMALL(skip_factor(spec) - std::pow(8.0, 0.25), 1e-15);
    BOOST_CHECK_EQUAL(input_norm_scale(spec, 2), 1.0);
    spec.arrangement = Arrangement::lns;
    BOOST_CHECK_EQUAL(skip_factor(spec), 1.0);
    BOOST_CHECK_EQUAL(input_norm_scale(spec, 0), 1.0);
    BOOST_CHECK_SMALL(input_norm_scale(spec, 2) - 1.0 / std::sqrt(3.0), 1e-15);
    spec.lns = LnsVariant::init;
    BOOST_CHECK_EQUAL(input_norm_scale(spec, 2), 1.0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
