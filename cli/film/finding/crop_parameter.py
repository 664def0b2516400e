"""The command-line parameter that says where in a film to look."""

import click

from core.errors import PermanentError
from inference.finding.zone import Crop, parse_crop


class CropFormsParameter(click.ParamType):
    """One of the forms that ``parse_crop`` knows."""

    name = "CROP"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Crop:
        try:
            return parse_crop(str(value))
        except PermanentError as error:
            self.fail(str(error), param, ctx)
