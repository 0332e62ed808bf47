// Prometheus' text format as top and check read it, and what lies between two pages.
#include "apps/metrics_page/page.hpp"

#include <gmock/gmock.h>

#include <array>
#include <cmath>

#include "apps/metrics_page/between.hpp"

namespace portcullis::apps {
namespace {

using testing::HasSubstr;

metrics_page page_of(const std::string& text) {
  std::string why;
  auto page = metrics_page::parse(text, why);
  EXPECT_TRUE(page) << why;
  return page ? std::move(*page) : std::move(*metrics_page::parse("", why));
}
std::string why_not(const std::string& text) {
  std::string why;
  return metrics_page::parse(text, why) ? "it is one" : why;
}
scrape at(double at_s, const std::string& text) { return {page_of(text), at_s, at_s}; }

TEST(a_metrics_page, gives_values_by_name_and_labels_whatever_their_order_and_others_beside_them) {
  const auto page = page_of(
      "# HELP a_total What it is: {\"not a label\"} 3\n# TYPE a_total counter\n"
      "a_total{x=\"1\",y=\"2\"} 5\na_total{x=\"3\",site=\"b\",} 7 1700000000000\n\n  c\t8\n");
  const std::array both = {metric_label{"y", "2"}, metric_label{"x", "1"}};
  const std::array third = {metric_label{"x", "3"}}, none = {metric_label{"x", "2"}};
  EXPECT_EQ(page.value("a_total", both), 5);
  EXPECT_EQ(page.value("a_total", third), 7);
  EXPECT_EQ(page.value("a_total", none), std::nullopt);
  EXPECT_EQ(page.sum("a_total"), 12);
  EXPECT_EQ(page.value("c"), 8);
  EXPECT_EQ(page.value("b"), std::nullopt);
  EXPECT_EQ(page.all("a_total").size(), 2U);
  EXPECT_EQ(page.size(), 3U);
}

TEST(a_metrics_page, takes_escapes_out_of_label_values) {
  const auto page = page_of(R"(a{x="\\ \" \n }, {",y=""} 1)"
                            "\n");
  const auto* only = page.all("a").front();
  EXPECT_EQ(only->label("x"), "\\ \" \n }, {");
  EXPECT_EQ(only->label("y"), "");
  EXPECT_EQ(only->series, R"(a{x="\\ \" \n }, {",y=""})");
}

TEST(a_metrics_page, stays_whole_when_it_is_moved) {
  auto first = page_of("a{x=\"\\\\\"} 1\n");  // short enough to lie inside of a string object
  const auto second = std::move(first);
  EXPECT_EQ(second.all("a").front()->label("x"), "\\");
  EXPECT_EQ(second.find("a{x=\"\\\\\"}")->value, 1);
}

TEST(a_metrics_page, reads_every_form_of_a_number) {
  const auto page = page_of("a NaN\nb +Inf\nc -Inf\nd 1e-05\ne -3.5\nf +2\ng .5\nh 1E3\n");
  EXPECT_TRUE(std::isnan(*page.value("a")));
  EXPECT_EQ(page.value("b"), HUGE_VAL);
  EXPECT_EQ(page.value("c"), -HUGE_VAL);
  EXPECT_EQ(page.value("d"), 1e-05);
  EXPECT_EQ(page.value("e"), -3.5);
  EXPECT_EQ(page.value("f"), 2);
  EXPECT_EQ(page.value("g"), 0.5);
  EXPECT_EQ(page.value("h"), 1000);
}

TEST(a_metrics_page, names_the_line_that_is_not_of_the_format) {
  EXPECT_THAT(why_not("a 1\nb 2 3 4\n"), HasSubstr("line 2 "));
  EXPECT_THAT(why_not("<html>\n"), HasSubstr("line 1 "));
  EXPECT_THAT(why_not("a 1"), HasSubstr("cut off"));
  EXPECT_THAT(why_not("a 1\na 1\n"), HasSubstr("twice"));
  for (const auto* bad : {"a\n",
                          "a \n",
                          "1a 1\n",
                          "a{x=\"1\" 1\n",
                          "a{x=1} 1\n",
                          "a{=\"1\"} 1\n",
                          "a{x=\"\\t\"} 1\n",
                          "a{x=\"1\"y=\"2\"} 1\n",
                          "a{x=\"1\",x=\"2\"} 1\n",
                          "a{x=\"1} 1\n",
                          "a{x=\"\\",
                          "a{x:y=\"\"} 1\n",
                          "a one\n",
                          "a 0x10\n",
                          "a 1,5\n",
                          "a inf\n",
                          "a nan\n",
                          "a +-1\n",
                          "a 1 now\n",
                          "a{} \n",
                          "a{x=\"1\"}1\n",
                          "a 1\r\n"})
    EXPECT_THAT(why_not(bad), HasSubstr("not of Prometheus' text format")) << bad;
}

constexpr const char* started = "process_start_time_seconds 100\n";

TEST(two_pages, give_rates_by_the_time_between_them) {
  const auto before = at(10, std::string(started) + "a{x=\"1\"} 5\na{x=\"2\"} 1\n");
  const auto after = at(12, std::string(started) + "a{x=\"1\"} 9\na{x=\"2\"} 1\na{x=\"3\"} 6\n");
  const between two(before, after);
  EXPECT_FALSE(two.restarted());
  EXPECT_EQ(two.seconds(), 2);
  EXPECT_EQ(two.rate("a"), 5) << "4, 0, and 6 of a series that is new";
  EXPECT_EQ(two.rate("b"), std::nullopt);
  const auto by = two.rates_by("a", "x");
  EXPECT_EQ(by.at("1"), 2);
  EXPECT_EQ(by.at("2"), 0);
}

TEST(two_pages, count_from_zero_what_went_back_and_everything_after_a_restart) {
  const auto before = at(0, std::string(started) + "a 50\nb 5\n");
  const auto back = at(1, std::string(started) + "a 3\nb 6\n");
  EXPECT_EQ(between(before, back).rate("a"), 3);
  EXPECT_EQ(between(before, back).rate("b"), 1);
  const auto again = at(1, "process_start_time_seconds 200\na 70\nb 6\n");
  EXPECT_TRUE(between(before, again).restarted());
  EXPECT_EQ(between(before, again).rate("a"), 70) << "not 20: the 50 were another process's";
}

TEST(two_pages, of_the_same_moment_give_no_infinite_rate) {
  const auto before = at(1, "a 1\n"), after = at(1, "a 2\n");
  EXPECT_TRUE(std::isfinite(*between(before, after).rate("a")));
}

std::string histogram(double tenth, double one, double all) {
  return "h_bucket{le=\"0.1\"} " + std::to_string(tenth) + "\nh_bucket{le=\"1\"} " +
         std::to_string(one) + "\nh_bucket{le=\"+Inf\"} " + std::to_string(all) + "\n";
}

TEST(a_quantile, is_interpolated_in_the_bucket_of_what_came_between_two_pages) {
  const auto before = at(0, histogram(100, 100, 100)), after = at(1, histogram(150, 200, 200));
  const auto grown = between(before, after).bucket_growth("h");
  EXPECT_DOUBLE_EQ(quantile(grown, 0.5)->seconds, 0.1) << "50 of 100 are up to 0.1";
  EXPECT_DOUBLE_EQ(quantile(grown, 0.25)->seconds, 0.05);
  EXPECT_DOUBLE_EQ(quantile(grown, 0.75)->seconds, 0.55);
  EXPECT_FALSE(quantile(grown, 0.99)->over);
}

TEST(a_quantile, past_the_last_bound_says_so_and_without_observations_there_is_none) {
  const auto before = at(0, histogram(0, 0, 0)), after = at(1, histogram(1, 1, 10));
  const auto high = quantile(between(before, after).bucket_growth("h"), 0.99);
  EXPECT_TRUE(high->over);
  EXPECT_EQ(high->seconds, 1);
  EXPECT_FALSE(quantile(between(before, before).bucket_growth("h"), 0.5));
  EXPECT_FALSE(quantile({}, 0.5));
  EXPECT_FALSE(quantile({{1.0, 5.0}}, 0.5)) << "no bucket for all";
  EXPECT_FALSE(quantile({{1.0, 5.0}, {2.0, 6.0}}, 0.5)) << "no bucket for all";
}

}  // namespace
}  // namespace portcullis::apps
