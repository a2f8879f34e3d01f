#include "core/arena.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdint>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(arena)

BOOST_AUTO_TEST_CASE(views_are_aligned_zeroed_and_apart)
{
    Arena arena(aligned_bytes(3 * 4) + aligned_bytes(5 * 8), Device{});
    const TensorView a = arena.allocate(DType::f32, {3});
    const TensorView b = arena.allocate(DType::f64, {5});
    for (const TensorView& view : {a, b})
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(view.data) % arena_alignment_bytes == 0u);
    for (const double value : b.elements<double>())
        BOOST_TEST(value == 0.0);
    b.as<double>()[0] = 1.0;
    a.as<float>()[2] = 2.0f;
    BOOST_TEST(b.as<double>()[0] == 1.0);
    BOOST_TEST(arena.used_bytes() == 128u);
}

BOOST_AUTO_TEST_CASE(a_counting_arena_says_what_a_real_one_needs)
{
    Arena counting;
    BOOST_TEST(counting.counting_only());
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(counting.allocate(DType::f32, {100, 7}).empty());
    Arena real(counting.used_bytes(), Device{});
    BOOST_TEST(!real.counting_only());
    for (int i = 0; i < 3; ++i)
        BOOST_TEST(!real.allocate(DType::f32, {100, 7}).empty());
    BOOST_TEST(real.used_bytes() == counting.used_bytes());
    BOOST_CHECK_THROW(real.allocate(DType::f32, {1000}), InvariantError);
}

BOOST_AUTO_TEST_CASE(an_arena_of_nothing_is_not_a_counting_one)
{
    Arena arena(0, Device{});
    BOOST_TEST(!arena.counting_only());
}

BOOST_AUTO_TEST_CASE(windows_lie_on_the_memory_of_their_arena)
{
    Arena whole(3 * arena_alignment_bytes, Device{});
    const TensorView all = whole.allocate(DType::f32, {48});
    for (int twice = 0; twice < 2; ++twice) {
        Arena window = whole.window(arena_alignment_bytes, arena_alignment_bytes);
        BOOST_TEST(!window.counting_only());
        BOOST_TEST(window.allocate(DType::f32, {16}).data == all.as<float>() + 16);
        BOOST_CHECK_THROW(window.allocate(DType::f32, {1}), InvariantError);
    }
    BOOST_CHECK_THROW(whole.window(0, 1000), InvariantError);
    BOOST_CHECK_THROW(Arena().window(0, 0), InvariantError);
}

BOOST_AUTO_TEST_CASE(memory_that_is_not_there_is_the_users_to_know)
{
    try {
        Arena arena(std::size_t{1} << 60, Device{});
        BOOST_ERROR("nothing thrown");
    } catch (const UserError& error) {
        BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(ExitCode::usage));
        BOOST_TEST(error.problem().find("1099511627776 MiB") != std::string::npos);
    }
}

BOOST_AUTO_TEST_SUITE_END()
